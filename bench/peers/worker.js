// A worker in JavaScript: takes and gives back a lock of node-redlock, as it is told on standard input.
//
//     node worker.js URL LOCK
//
// What it is told and what it answers is written in `src/cluster/errand.rs`.
'use strict'

const readline = require('node:readline')
const { Redis } = require('ioredis')
const Redlock = require('redlock')

const LEASE = 60000
const [url, name] = process.argv.slice(2)
const client = new Redis(url)
// As it comes (200 ms +/- 100 between tries), but for ever.
const redlock = new Redlock([client], { retryCount: -1, retryDelay: 200, retryJitter: 100 })

const clock = () => process.hrtime.bigint()
const say = (...words) => process.stdout.write(words.join(' ') + '\n')
const sleep = (nanoseconds) => new Promise((done) => setTimeout(done, nanoseconds / 1e6))

let held

async function turns(hold, until) {
  let [count, longest] = [0, 0n]
  for (let asked = clock(); asked < until; asked = clock()) {
    const lock = await redlock.lock(name, LEASE)
    const taken = clock()
    const waited = (taken < until ? taken : until) - asked
    longest = waited > longest ? waited : longest
    if (taken < until) {
      count += 1
      await sleep(hold)
    }
    await lock.unlock()
  }
  return [count, longest]
}

async function errand([what, ...words]) {
  if (what === 'pairs') {
    const start = clock()
    for (let left = Number(words[0]); left > 0; left -= 1) {
      await (await redlock.lock(name, LEASE)).unlock()
    }
    say(clock() - start)
  } else if (what === 'hold') {
    held = await redlock.lock(name, LEASE)
    say('held')
  } else if (what === 'release') {
    const released = clock()
    await held.unlock()
    say(released)
  } else if (what === 'take') {
    say('asking')
    const lock = await redlock.lock(name, LEASE)
    const taken = clock()
    await lock.unlock()
    say(taken)
  } else if (what === 'turns') {
    say(...(await turns(Number(words[0]), BigInt(words[1]))))
  } else {
    throw new Error(`a worker does not know ${what}`)
  }
}

async function main() {
  await (await redlock.lock(name, LEASE)).unlock()
  say('ready')
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await errand(line.split(' '))
  }
  client.disconnect()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})

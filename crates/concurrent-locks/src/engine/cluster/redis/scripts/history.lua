-- Part of every script: what is kept of the past of a name.
--
-- One list per name, oldest first: an entry for every request that ended, and at its head the sum of
-- the entries that were folded away. A grant is counted when it ends; until then it is counted from
-- its row by whoever looks. So an uncontended pair writes to the history once.

-- In a function of its own, so that scripts which seldom need it seldom make it.
local function load_history()
  local KEPT = 100
  local LAST_BUCKET = 145

  -- Four buckets per power of two nanoseconds, as `histogram.rs` has them.
  local function bucket_of(micros)
    local nanos = micros * 1000
    if nanos < 64 then
      return 0
    end
    local _, exponent = math.frexp(nanos)
    local power = exponent - 1
    if power >= 42 then
      return LAST_BUCKET
    end
    return (power - 6) * 4 + math.floor(nanos / 2 ^ (power - 2)) % 4 + 1
  end

  local function take_in(times, micros)
    if times.count == 0 or micros < times.min then
      times.min = micros
    end
    times.max = math.max(times.max, micros)
    times.sum = times.sum + micros
    times.count = times.count + 1
    local bucket = bucket_of(micros)
    times.buckets[bucket] = (times.buckets[bucket] or 0) + 1
  end

  local function new_times()
    return { count = 0, sum = 0, min = 0, max = 0, buckets = {} }
  end

  local function new_mode()
    return { timeouts = 0, errors = 0, deadlocks = 0, waits = new_times(), holds = new_times() }
  end

  -- `reset`: grants from before it were counted already.
  local function new_sum(reset)
    return { reset = reset, read = new_mode(), write = new_mode() }
  end

  local function count_grant(sum, mode, since, waited)
    if since > sum.reset then
      take_in(sum[mode].waits, waited)
    end
  end

  -- Counts one entry, as `keep` wrote it.
  local function count(sum, ending, mode, _, _, _, at, waited, held)
    local numbers = sum[mode]
    if held >= 0 then
      count_grant(sum, mode, at, waited)
      take_in(numbers.holds, held)
      if ending ~= 'normal' then
        numbers.errors = numbers.errors + 1
      end
    elseif ending == 'timeout' then
      numbers.timeouts = numbers.timeouts + 1
    else
      numbers.errors = numbers.errors + 1
      if ending == 'deadlock' then
        numbers.deadlocks = numbers.deadlocks + 1
      end
    end
  end

  -- The sum that a list begins with, and where its entries begin.
  local function sum_of(list)
    if list[1] then
      local kind, sum = cmsgpack.unpack(list[1])
      if kind == 'sum' then
        return sum, 2
      end
    end
    return new_sum(0), 1
  end

  local function fold(key)
    local list = call('LRANGE', key, 0, -KEPT - 1)
    local sum, first = sum_of(list)
    for index = first, #list do
      count(sum, cmsgpack.unpack(list[index]))
    end
    call('LTRIM', key, #list, -1)
    call('LPUSH', key, cmsgpack.pack('sum', sum))
  end

  return { KEPT = KEPT, new_sum = new_sum, count = count, count_grant = count_grant, sum_of = sum_of, fold = fold }
end

local STAT = PREFIX .. 'stat:'

local function note_name(name)
  call('ZADD', PREFIX .. 'names', NOW, name)
  call('EXPIRE', PREFIX .. 'names', 2 * HISTORY_SECONDS)
end

-- Keeps how a request ended; `at`: when it was granted, or gave up; `held`: for how long, -1 if it never was.
local function keep(name, ending, mode, label, pid, token, at, waited, held)
  local key = STAT .. name
  local length = call('RPUSH', key, cmsgpack.pack(ending, mode, label, pid, token, at, waited, held))
  call('EXPIRE', key, HISTORY_SECONDS)
  if length == 1 then
    note_name(name)
  elseif length >= 200 then
    load_history().fold(key)
    note_name(name)
  end
end

-- session, lease, pid, host, program, guarded: registers the session, or registers it again.
local session, lease, pid, host, program = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
call('HSET', SESSIONS, session, cmsgpack.pack(lease, pid, host, program))
call('ZADD', SEEN, NOW, session)
-- How often this space has had another server, or one that started again, which its clients compare (`hosts.rs`).
-- Without the right to query that, they compare only the last contact.
local about = redis.pcall('INFO', 'replication')
local past = type(about) == 'string' and about:match('master_replid:(%x+)')
if past and call('HGET', COUNTERS, 'past') ~= past then
  call('HSET', COUNTERS, 'past', past)
  call('HINCRBY', COUNTERS, 'epoch', 1)
end
return '{"now":' .. NOW .. ',"layout":2}'

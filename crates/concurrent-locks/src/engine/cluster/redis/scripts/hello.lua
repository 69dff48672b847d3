-- session, lease, pid, host, program, guarded: registers the session, or registers it again.
local session, lease, pid, host, program = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
call('HSET', SESSIONS, session, cmsgpack.pack(lease, pid, host, program))
call('ZADD', SEEN, NOW, session)
return '{"now":' .. NOW .. ',"layout":1}'

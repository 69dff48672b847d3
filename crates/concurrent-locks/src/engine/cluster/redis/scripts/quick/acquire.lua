-- A name that nobody holds, as most are: granted before the rest of the script makes its functions,
-- which is a third of the work. Nobody holds it, so nobody waits, and this request is not a repeated one.
local request, name, owner = ARGV[2], ARGV[3], ARGV[5]
if watched_until < now and not call('ZRANGEBYLEX', HOLDERS, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, 1)[1] then
  local token, text = now, NOW
  if last_stamp >= now then
    token = last_stamp + 1
    text = whole(token)
  end
  local _, pid = cmsgpack.unpack(found[1])
  local priority = tonumber(ARGV[9])
  call('HSET', SESSIONS, 'stamp', text)
  call('HSET', REQUESTS, request, cmsgpack.pack(ARGV[1], now, tonumber(ARGV[11]), request, name, ARGV[4], owner,
    ARGV[6]:match('^[^.]+') or owner, ARGV[7], ARGV[8], priority, pid, now, token, 0, token - priority * HEAD_START, token))
  call('ZADD', HOLDERS, 0, name .. (ARGV[4] == 'write' and '\0W\0' or '\0r\0') .. owner .. '\0' .. request)
  return '{"granted":{"token":' .. text .. ',"since":' .. NOW .. ',"waited":0,"owner":' .. quote(owner) .. '}}'
end

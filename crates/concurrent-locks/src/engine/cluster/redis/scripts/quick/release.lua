-- A grant that nobody waits for, as most are: gone before the rest of the script makes its functions.
local packed = call('HGET', REQUESTS, ARGV[2])
if packed and watched_until < now then
  local _, since, _, request, name, mode, owner, _, label, _, _, pid, _, token, waited = cmsgpack.unpack(packed)
  if since > 0 and not call('ZRANGEBYLEX', QUEUE, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, 1)[1] then
    call('HDEL', REQUESTS, request)
    call('ZREM', HOLDERS, name .. (mode == 'write' and '\0W\0' or '\0r\0') .. owner .. '\0' .. request)
    keep(name, ARGV[4], mode, label, pid, token, since, waited, math.max(now - since, 0))
    return '{"released":{}}'
  end
end

-- Runs one command, unless a greater token has passed this fence.
-- KEYS[1] the fence, KEYS[2...] keys of the command (to be named in a cluster); ARGV[1] the token, ARGV[2...] the command.

-- Whole numbers below 2^53 only: Lua can distinguish those.
local function whole(text)
  local number = string.match(text, '^%d+$') and tonumber(text)
  return number and number < 9007199254740992 and number or nil
end

local token = whole(ARGV[1])
if not token or #ARGV < 2 then
  return redis.error_reply('ERR usage: 1 FENCE TOKEN COMMAND [ARGUMENT ...], with a token below 2^53')
end
local greatest = redis.call('GET', KEYS[1])
if greatest then
  local number = whole(greatest)
  if not number then
    return redis.error_reply('CORRUPT the fence ' .. KEYS[1] .. ' holds no token')
  end
  if token < number then
    return redis.error_reply('FENCED ' .. greatest .. ' has passed, ' .. ARGV[1] .. ' is older: the lock was taken over')
  end
end
if greatest ~= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1])
end
return redis.call(unpack(ARGV, 2))

-- [[earlier, later, label]..]: an owner took `later` while it held `earlier`. Kept once per pair.
local MOST = 4096
local room = MOST - call('HLEN', ORDERS)
for _, order in ipairs(cjson.decode(ARGV[1])) do
  if room <= 0 then
    break
  end
  room = room - call('HSETNX', ORDERS, order[1] .. '\0' .. order[2], order[3])
end
return '{}'

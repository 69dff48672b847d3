-- earlier, later, label: an owner took `later` while it held `earlier`. Kept once per pair.
local MOST = 4096
if call('HLEN', ORDERS) < MOST then
  call('HSETNX', ORDERS, ARGV[1] .. '\0' .. ARGV[2], ARGV[3])
end
return '{}'

-- Gives a lease up to the other nodes, who reap it, if there are any at this moment.
-- KEYS[1] the leases (hold.lua has their form). ARGV: the lease, whose first twelve digits are those of its node.
-- Gives whether there are, and else the leases of others that have run out, which are the caller's to reap.
local key, lease = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for _, other in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf')) do
    local is_lease = #other == 16 and string.match(other, '^%x+$')
    if is_lease and string.sub(other, 1, 12) ~= string.sub(lease, 1, 12) then
        redis.call('ZADD', key, 'XX', 0, lease)
        return {1, {}}
    end
end
return {0, redis.call('ZRANGEBYSCORE', key, '-inf', now)}

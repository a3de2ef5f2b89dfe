-- Takes or renews a lease, and calls the roll.
-- KEYS[1] the leases, by the time at which they run out. ARGV: the lease, its span in ms, "take" or "renew".
-- Gives whether it is held, the leases that live, and those that have run out and were not reaped yet.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', now)
local expires = string.format('%.0f', now + tonumber(ARGV[2]))
local held = 1
if ARGV[3] == 'take' then
    redis.call('ZADD', KEYS[1], expires, ARGV[1])
else
    -- One that has run out is dead, whether or not anybody has noticed.
    local runs_out = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if runs_out and tonumber(runs_out) > now then
        redis.call('ZADD', KEYS[1], expires, ARGV[1])
    else
        held = 0
    end
end
local living = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text, '+inf')
return {held, living, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text)}

-- Writes one word about a channel.
-- KEYS[1] the channel's facts, a hash:
--   s<lease>         "<seq> <subscriptions>" of one owner
--   m<lease><user>   the user is a member there: "" or "+" and user_info
--   u<user>          on how many nodes the user is a member
--   t                how many subscribe in all
--   g<user>, v       a removal that webhooks will be told of unless it is undone: by whom
-- ARGV: lease, prev, seq, subscriptions, "1" when webhooks are told; then "+", user, info or "-", user for each change.
-- Gives how many subscribe in all, then what has changed for the fleet: "+user", "-user", "o" occupied, "v" vacated.
local key, lease = KEYS[1], ARGV[1]
local told, token, is_told = {}, lease .. ' ' .. ARGV[3], ARGV[5] == '1'

local function join(user, info)
    -- The second argument of a pair that is there already: the word has been written before.
    if redis.call('HSETNX', key, 'm' .. lease .. user, info) == 0 then return end
    if redis.call('HINCRBY', key, 'u' .. user, 1) > 1 then return end
    if redis.call('HDEL', key, 'g' .. user) == 0 then told[#told + 1] = '+' .. user end
end

local function leave(user)
    if redis.call('HDEL', key, 'm' .. lease .. user) == 0 then return end
    if redis.call('HINCRBY', key, 'u' .. user, -1) > 0 then return end
    redis.call('HDEL', key, 'u' .. user)
    if is_told then redis.call('HSET', key, 'g' .. user, token) end
    told[#told + 1] = '-' .. user
end

local before = redis.call('HGET', key, 's' .. lease)
local was = before and tonumber(string.match(before, ' (%d+)$')) or 0
local now = tonumber(ARGV[4])
local total = tonumber(redis.call('HGET', key, 't') or '0') + now - was
if was ~= now then
    if total > 0 then redis.call('HSET', key, 't', total) else redis.call('HDEL', key, 't') end
end
if now > 0 then
    redis.call('HSET', key, 's' .. lease, ARGV[3] .. ' ' .. ARGV[4])
else
    redis.call('HDEL', key, 's' .. lease)
end
if total > 0 and total == now - was and redis.call('HDEL', key, 'v') == 0 then told[#told + 1] = 'o' end
local at = 6
while ARGV[at] do
    if ARGV[at] == '+' then
        join(ARGV[at + 1], ARGV[at + 2])
        at = at + 3
    else
        leave(ARGV[at + 1])
        at = at + 2
    end
end
if total <= 0 and was > now then
    if is_told then redis.call('HSET', key, 'v', token) end
    told[#told + 1] = 'v'
end
return {total, told}

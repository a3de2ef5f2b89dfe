-- Removes what a lease that is dead or given back has left in a channel's facts (say.lua has their form).
-- KEYS[1] the facts. ARGV: the lease, a token of whoever tells webhooks of it, "1" when webhooks are told, the epoch.
-- Gives what say.lua gives. Whoever runs it first is told; a second time changes nothing.
local key, lease = KEYS[1], ARGV[1]
local told, is_told = {}, ARGV[3] == '1'
local epoch = redis.call('HGET', key, 'e')
if epoch and epoch > ARGV[4] then
    return redis.error_reply('LOST others have found that data was lost')
elseif epoch and epoch < ARGV[4] then
    redis.call('DEL', key)
    return {-1, told}
end

-- Whether something waited to be told; it does no longer.
local function undo(field)
    local value = redis.call('HGET', key, field)
    return value and redis.call('HDEL', key, field) == 1 and string.sub(value, -1) ~= '!'
end

local gone, waiting = {}, {}
for _, field in ipairs(redis.call('HKEYS', key)) do
    local kind = string.sub(field, 1, 1)
    if kind == 'm' and string.sub(field, 2, 17) == lease then
        gone[#gone + 1] = string.sub(field, 18)
    elseif kind == 'g' or kind == 'v' or kind == 'n' or kind == 'w' then
        waiting[#waiting + 1] = field
    end
end
for _, user in ipairs(gone) do
    redis.call('HDEL', key, 'm' .. lease .. user)
    if redis.call('HINCRBY', key, 'u' .. user, -1) <= 0 then
        redis.call('HDEL', key, 'u' .. user)
        -- Who was not told to have come is not told to have gone.
        if not undo('n' .. user) and is_told then
            redis.call('HSET', key, 'g' .. user, ARGV[2])
            told[#told + 1] = '-' .. user
        end
    end
end
local owner = redis.call('HGET', key, 's' .. lease)
local counted = tonumber(redis.call('HGET', key, 't') or '0')
local total = counted
if owner then
    redis.call('HDEL', key, 's' .. lease)
    -- None are left where another lease of the same node has taken them over.
    local subscriptions = tonumber(string.match(owner, ' (%d+)$'))
    total = total - subscriptions
    if total > 0 then
        redis.call('HSET', key, 't', total)
    elseif subscriptions > 0 then
        redis.call('HDEL', key, 't')
        if not undo('w') and is_told then
            redis.call('HSET', key, 'v', ARGV[2])
            told[#told + 1] = 'v'
        end
    end
end
-- What waited under the lease nobody tells now. What is marked may have been told, and is told again.
for _, field in ipairs(waiting) do
    local value = redis.call('HGET', key, field)
    if value and string.sub(value, 1, 16) == lease then
        if is_told then
            redis.call('HSET', key, field, ARGV[2])
            local kind, user = string.sub(field, 1, 1), string.sub(field, 2)
            local turns = { g = '-' .. user, v = 'v', n = '*' .. user, w = 'w' }
            told[#told + 1] = turns[kind]
        else
            redis.call('HDEL', key, field)
        end
    end
end
if redis.call('HLEN', key) == 1 then redis.call('DEL', key) end
return {total ~= counted and total or -1, told}

-- Writes one word about a channel.
-- KEYS[1] the channel's facts, a hash:
--   s<lease>         "<seq> <subscriptions>" of one owner
--   m<lease><user>   the user is a member there: "" or "+" and user_info
--   u<user>          on how many nodes the user is a member
--   t                how many subscribe in all
--   e                in which epoch it was written, see hold.lua: what is of an earlier one is of a copy of lost data, or
--                    was written before a failover that lost some, and counts no more, for all say again what is true
--   g<user>, v       a removal that webhooks will be told of unless it is undone: by whom, and "!" when they are
--                    being told
--   n<user>, w       the same for who comes, or for the first subscriber: while all regroup after a loss of data, or
--                    while the removal before is being told
-- ARGV: lease, prev, seq, subscriptions, "1" when webhooks are told, "1" when they were told that the channel is
-- occupied, "1" while all regroup, the leases that its node will give back, the time in ms after which a word under the
-- lease is too late, the epoch; then for each change "+", user, info or "-", user; or "*" and "~" in place of these when webhooks
-- were told, before data was lost, that the user is here.
-- Gives how many subscribe in all, -1 if as many as before, then what has changed for the fleet: "+user", "o" occupied,
-- or "*user" and "w" when these wait; "-user", "v" vacated, which always do.
local key, lease = KEYS[1], ARGV[1]
local told, token, is_told = {}, lease .. ' ' .. ARGV[3], ARGV[5] == '1'
local was_occupied, waits = ARGV[6] == '1', is_told and ARGV[7] == '1'

-- Whether something waited to be told; it does no longer.
local function undo(field)
    local value = redis.call('HGET', key, field)
    return value and redis.call('HDEL', key, field) == 1 and string.sub(value, -1) ~= '!'
end

local function is_marked(field)
    return string.sub(redis.call('HGET', key, field) or '', -1) == '!'
end

local function join(user, info, was_told)
    -- The second argument of a pair that is there already: the word has been written before.
    if redis.call('HSETNX', key, 'm' .. lease .. user, info) == 0 then return end
    local is_first = redis.call('HINCRBY', key, 'u' .. user, 1) == 1
    local waited = undo('n' .. user)
    local is_being_told = is_marked('g' .. user)
    local undone = is_first and not is_being_told and undo('g' .. user)
    -- What waits to be told by another node is told by this one: it may be the only one that still knows.
    if was_told or undone or not (is_first or waited) then return end
    local later = waits or is_told and is_being_told
    if later then redis.call('HSET', key, 'n' .. user, token) end
    told[#told + 1] = (later and '*' or '+') .. user
end

local function leave(user, was_told)
    local was_here = redis.call('HDEL', key, 'm' .. lease .. user) == 1
    if was_here then
        if redis.call('HINCRBY', key, 'u' .. user, -1) > 0 then return end
        redis.call('HDEL', key, 'u' .. user)
    end
    local waited = (was_told or was_here) and undo('n' .. user)
    if not was_told and (waited or not was_here) then return end
    -- Somebody else has it, and would have to be told of it otherwise.
    if not was_here and redis.call('HGET', key, 'u' .. user) then return end
    if is_told then redis.call('HSET', key, 'g' .. user, token) end
    told[#told + 1] = '-' .. user
end

local time = redis.call('TIME')
if time[1] * 1000 > tonumber(ARGV[9]) then
    return redis.error_reply('LATE the lease of this word has run out')
end
local epoch = redis.call('HGET', key, 'e')
if epoch and epoch > ARGV[10] then
    return redis.error_reply('LOST others have found that data was lost')
elseif epoch and epoch < ARGV[10] then
    redis.call('DEL', key)
end
local before = redis.call('HGET', key, 's' .. lease)
if ARGV[2] ~= '0' and ARGV[2] ~= string.match(before or '', '^(%d+)') then
    return redis.error_reply('LOST the word before this one is not there: data was lost, or the lease is dead')
end
local was = before and tonumber(string.match(before, ' (%d+)$')) or 0
if ARGV[2] == '0' then
    -- Who subscribes there is counted once, though it stands under each of them for a while.
    for other in string.gmatch(ARGV[8], '%x+') do
        local seq, subscriptions = string.match(redis.call('HGET', key, 's' .. other) or '', '^(%d+) (%d+)$')
        if seq and subscriptions ~= '0' then
            redis.call('HSET', key, 's' .. other, seq .. ' 0')
            was = was + tonumber(subscriptions)
        end
    end
end
local now = tonumber(ARGV[4])
local counted = tonumber(redis.call('HGET', key, 't') or '0')
local total = counted + now - was
if was ~= now then
    if total > 0 then redis.call('HSET', key, 't', total) else redis.call('HDEL', key, 't') end
end
if now > 0 then
    redis.call('HSET', key, 's' .. lease, ARGV[3] .. ' ' .. ARGV[4])
else
    redis.call('HDEL', key, 's' .. lease)
end
local waited = (was_occupied or total <= 0 or was == 0 and now > 0) and undo('w')
local is_being_told = is_marked('v')
local undone = total > 0 and total == now - was and not is_being_told and undo('v')
if not was_occupied and not undone and total > 0 and was == 0 and (waited or total == now) then
    local later = waits or is_told and is_being_told
    if later then redis.call('HSET', key, 'w', token) end
    told[#told + 1] = later and 'w' or 'o'
end
local at = 11
while ARGV[at] do
    local kind = ARGV[at]
    if kind == '+' or kind == '*' then
        join(ARGV[at + 1], ARGV[at + 2], kind == '*')
        at = at + 3
    else
        leave(ARGV[at + 1], kind == '~')
        at = at + 2
    end
end
if total <= 0 and (was_occupied or was > now and not waited) then
    if is_told then redis.call('HSET', key, 'v', token) end
    told[#told + 1] = 'v'
end
redis.call('HSET', key, 'e', ARGV[10])
if redis.call('HLEN', key) == 1 then redis.call('DEL', key) end
return {total ~= counted and total or -1, told}

-- Takes or renews a lease, and calls the roll.
-- KEYS[1] the leases, by the time at which they run out; beside them an epoch, for ever, which is another one when data
-- was lost, and "regroup", until the time at which all have said again what they know. "untold" stands there, for ever
-- too, while nobody has come who knew another epoch: whoever named the present one did not know whether data was lost.
-- ARGV: the lease, its span in ms, "take" or "renew"; the epoch that is known to who asks, or ""; what tells another
-- one from all others; the lease that was held last, or "", and until when; the state of the roll that is known, or ""; how long, in ms,
-- others need to find out that data was lost.
-- Gives whether it is held, until when, the leases that live (none when the state is the known one), those that have
-- run out and were not reaped yet, the epoch, whether data was lost since the one that is known, whether all regroup,
-- and the state of the roll.
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', now)
local expires = string.format('%.0f', now + tonumber(ARGV[2]))

local known, before, replaced = ARGV[4], ARGV[6], ''
local function numbered(name)
    return tonumber(string.match(name, '^epoch:(%d+):') or '0')
end
-- Beside the epoch stands, for ever too, which lease was taken last: "taken:" comes behind "epoch:" and before "untold".
local epoch, taken = unpack(redis.call('ZRANGEBYSCORE', key, '+inf', '+inf'))
if epoch and epoch == known and before ~= '' then
    -- What Redis has may be of an earlier time than what it was told.
    local score = redis.call('ZSCORE', key, before)
    if tonumber(ARGV[7]) > (score and tonumber(score) or now) then
        redis.call('ZREM', key, epoch)
        replaced, epoch = epoch, nil
    end
end
if not epoch then
    -- Later ones are larger, as texts are compared, whatever clock there is now.
    local number = math.max(now, numbered(known) + 1, numbered(replaced) + 1)
    epoch = string.format('epoch:%013.0f:%s', number, ARGV[5])
    redis.call('ZADD', key, '+inf', epoch)
    if known == '' then
        redis.call('ZADD', key, '+inf', 'untold')
        redis.call('ZADD', key, string.format('%.0f', now + tonumber(ARGV[9])), 'regroup')
    else
        redis.call('ZREM', key, 'untold')
        redis.call('ZADD', key, expires, 'regroup')
    end
end
local lost = known ~= '' and known ~= epoch
if lost and redis.call('ZREM', key, 'untold') == 1 then redis.call('ZADD', key, expires, 'regroup') end
local regroups = redis.call('ZSCORE', key, 'regroup')
if regroups and tonumber(regroups) <= now then
    redis.call('ZREM', key, 'regroup')
    regroups = false
end

local held = 1
if ARGV[3] == 'take' then
    redis.call('ZADD', key, expires, ARGV[1])
    if taken then redis.call('ZREM', key, taken) end
    taken = 'taken:' .. ARGV[1]
    redis.call('ZADD', key, '+inf', taken)
else
    -- One that has run out is dead, whether or not anybody has noticed.
    local runs_out = redis.call('ZSCORE', key, ARGV[1])
    if runs_out and tonumber(runs_out) > now then
        redis.call('ZADD', key, expires, ARGV[1])
    else
        held = 0
    end
end
-- Until another lease is taken, there are only fewer that live: as many are the same ones. A large fleet asks often.
local state = epoch .. ' ' .. (taken or '') .. ' ' .. redis.call('ZCOUNT', key, '(' .. text, '+inf')
local living = {}
if state ~= ARGV[8] then living = redis.call('ZRANGEBYSCORE', key, '(' .. text, '+inf') end
local run_out = redis.call('ZRANGEBYSCORE', key, '-inf', text)
return {held, expires, living, run_out, epoch, lost and 1 or 0, regroups and 1 or 0, state}

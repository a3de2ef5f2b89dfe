-- Whether what was held back is still so: nobody has come back, or gone again, meanwhile. It is marked with "!", and told
-- by whoever asked; asked again, because an answer was lost, it is so still. Once told it is taken out.
-- KEYS[1] the facts (say.lua has their form). ARGV: the token of it, its field: g<user>, v, n<user> or w, and "ask" or
-- "told"; the epoch. Gives 1 when it is so, 0 when not, and 2 when its opposite is being told, which comes first.
local marked = ARGV[1] .. '!'
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch and epoch > ARGV[4] then
    return redis.error_reply('LOST others have found that data was lost')
end
local value = redis.call('HGET', KEYS[1], ARGV[2])
if ARGV[3] == 'told' then
    local taken = value == marked and redis.call('HDEL', KEYS[1], ARGV[2]) or 0
    if redis.call('HLEN', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
    return taken
end
if epoch and epoch < ARGV[4] then return 0 end
local kind, user = string.sub(ARGV[2], 1, 1), string.sub(ARGV[2], 2)
local opposite = kind == 'n' and 'g' .. user or kind == 'w' and 'v'
if value == ARGV[1] and opposite and redis.call('HGET', KEYS[1], opposite) then return 2 end
if value == ARGV[1] then redis.call('HSET', KEYS[1], ARGV[2], marked) end
return (value == ARGV[1] or value == marked) and 1 or 0

-- Whether what was held back is still so: nobody has come back, or gone again, meanwhile.
-- KEYS[1] the facts (say.lua has their form). ARGV: the token of it, and its field: g<user>, v, n<user> or w.
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[2])

-- Whether a removal that was held back is still one: nobody has come back meanwhile.
-- KEYS[1] the facts (say.lua has their form). ARGV: the token of the removal, and g<user> or v.
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[2])

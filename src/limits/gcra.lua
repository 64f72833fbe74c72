-- GCRA over several cells at once, as `filters::quota` has it: one request is
-- charged to every cell of KEYS, or to none.
--
-- ARGV: now as seconds and nanoseconds, both empty for the server's clock; then
-- of each cell its interval and its tolerance, likewise in two numbers each,
-- because one would not hold all digits.
--
-- Answers {0}, or of the first cell that refuses its place, the seconds until
-- one more request passes, and the seconds until the whole burst is there; or of
-- a key that is no cell its place alone.

local GIGA = 1000000000

local function sum(as, an, bs, bn)
  local s, n = as + bs, an + bn
  if n >= GIGA then
    return s + 1, n - GIGA
  end
  return s, n
end

-- Never below zero.
local function difference(as, an, bs, bn)
  if as < bs or (as == bs and an <= bn) then
    return 0, 0
  elseif an < bn then
    return as - bs - 1, an - bn + GIGA
  end
  return as - bs, an - bn
end

local function rounded_up(s, n)
  if n > 0 then
    return s + 1
  end
  return s
end

local function argument(place)
  return tonumber(ARGV[place]), tonumber(ARGV[place + 1])
end

local now_s, now_n = argument(1)
if not now_s then
  local time = redis.call('TIME')
  now_s, now_n = tonumber(time[1]), tonumber(time[2]) * 1000
end

local after = {}
for place, key in ipairs(KEYS) do
  local interval_s, interval_n = argument(4 * place - 1)
  local tolerance_s, tolerance_n = argument(4 * place + 1)
  local seen_s, seen_n = 0, 0
  local stored = redis.pcall('GET', key)
  if stored then
    -- An error is a table. Numbers of more digits are no time, and come back as none.
    local s, n = string.match(type(stored) == 'string' and stored or '', '^(%d+)%.(%d+)$')
    if not s or #s > 12 or #n > 9 then
      return { place }
    end
    seen_s, seen_n = tonumber(s), tonumber(n)
  end
  -- How far the cell runs ahead of the clock.
  local lead_s, lead_n = difference(seen_s, seen_n, now_s, now_n)
  local ahead_s, ahead_n = sum(lead_s, lead_n, interval_s, interval_n)
  if ahead_s > tolerance_s or (ahead_s == tolerance_s and ahead_n > tolerance_n) then
    local wait = rounded_up(difference(ahead_s, ahead_n, tolerance_s, tolerance_n))
    return { place, math.max(wait, 1), rounded_up(lead_s, lead_n) }
  end
  local next_s, next_n = sum(now_s, now_n, ahead_s, ahead_n)
  -- A minute longer than it counts, should the clock be set back.
  after[place] = { string.format('%.0f.%.0f', next_s, next_n), ahead_s + 61 }
end

for place, key in ipairs(KEYS) do
  redis.call('SET', key, after[place][1], 'EX', string.format('%.0f', after[place][2]))
end
return { 0 }

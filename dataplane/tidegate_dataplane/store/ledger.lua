-- The shared ledger: one batch of one data plane ("owner"), on the server's own time, in integers only.
--
-- KEYS    1 state of the store   2 owners: id -> (index, sequence, last ms, generation)   3 alive: id by last ms
--         4... one key for each counter
-- ARGV[1] MessagePack: {op, owner, sequence, acknowledged, epoch, fresh, version, owner_ttl, hold_ttl, counters, body,
--         begin, final, known}; counters: {kind, a, b, c, slot, used, firm, keep, slot, ...} each; body of op 0: decisions
--         {counter, limit, need, want, ...} each; of op 1: rows {counter, slot, limit, used, firm, keep, total} each
-- Answer  MessagePack: {0, epoch, now ms, alive, version, members, results} or {1}: declare first, or {2, sequence}: stale
--
-- The figures of one slot of a counter are a flat array {slot, pressed, (index, generation, used, held, spare)...}, with
-- granted = used + held + spare. Index 0 stands for planes that are missing after a loss. WINDOW and GAUGE are one
-- string; SLIDING is a hash of slots and a head 'h' {slot, pressed, granted, used, oldest, stamp}; BUCKET is
-- {TAT us, its nanoseconds, pressed}.

local call, pack, decode = redis.call, cmsgpack.pack, cmsgpack.unpack
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local WINDOW, SLIDING, BUCKET, GAUGE = 0, 1, 2, 3
local OK, REFUSED, NOT_TRIED, REBUILDING, BOUNDS_UNKNOWN = 0, 1, 2, 3, 4
-- Fields of the state.
local EPOCH, GEN, RUN, START, UNTIL, COMPLETE, VOUCHED, UNKNOWN = 1, 2, 3, 4, 5, 6, 7, 8
local VERSION, NEXT, ALIVE, COUNTED, STAMP, DEAD = 9, 10, 11, 12, 13, 14
-- How exactly it is known when an owner was last heard of.
local BEAT_MS = 500
local PRESSED_SECONDS, GRACE_MS, GAUGE_MS, FORGET_MS = 2, 10000, 86400000, 40 * 86400000
-- A rebuild ends at the latest after the first; sooner when all owners have declared that anybody knows of: the second
-- when nobody remembers anything (a new installation), the third when planes remember, at once when the store does.
local REBUILD_MS, NOBODY_MS, PLANES_MS = 10000, 2500, 1000
-- Who has begun to declare in time is waited for, from call to call, but not for ever.
local CALL_MS, LONGEST_MS = 3000, 120000

local op, owner, sequence, acknowledged, epoch, fresh, version, owner_ttl, hold_ttl, asked, body, begin, final, known =
  unpack(decode(ARGV[1]))
local time = call('TIME')
local us = time[1] * 1000000 + time[2]
local now = floor(us / 1000)

local state = call('GET', KEYS[1])
state = state and decode(state)
local row = call('HGET', KEYS[2], owner)
row = row and decode(row)
local state_dirty = false

local function run_id()
  return string.match(call('INFO', 'server'), 'run_id:(%x+)')
end

-- Data that may be older than what planes were told: nothing counts as complete until they have declared.
local function new_epoch(run)
  local old, next = state, 1
  if old then
    local latest = call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
    for _, id in ipairs(latest[2] and call('ZRANGEBYSCORE', KEYS[3], latest[2] - owner_ttl, '+inf') or {}) do
      call('ZADD', KEYS[3], now, id)
    end
  end
  for _, each in ipairs(call('HVALS', KEYS[2])) do
    next = max(next, decode(each)[1] + 1)
  end
  local generation = old and old[GEN] % 127 + 1 or us % 127 + 1
  state = {us, generation, run, now, now + REBUILD_MS, 0, old and 2 or 0, 0, us, next, 1, 0, us, 0}
end

if op == 0 then
  if not state or not row or state[EPOCH] ~= epoch or row[4] ~= state[GEN] or row[2] < acknowledged
    or (fresh == 1 and state[RUN] ~= run_id()) then
    return pack({1})
  end
  if row[2] >= sequence then return pack({2, row[2]}) end
else
  if begin == 1 then
    local run = run_id()
    local rolled_back = state and epoch == state[EPOCH] and acknowledged > 0 and (not row or row[2] < acknowledged)
    if not state or state[RUN] ~= run or rolled_back then
      new_epoch(run)
    elseif row and row[2] >= sequence then
      return pack({2, row[2]})
    end
  elseif not state or not row or state[EPOCH] ~= epoch or row[2] < acknowledged then
    return pack({1})
  elseif row[2] >= sequence then
    return pack({2, row[2]})
  end
  state_dirty = true
  if not row then
    row = {state[NEXT], 0, now, 0}
    state[NEXT], state[VERSION] = state[NEXT] + 1, max(us, state[VERSION] + 1)
  end
  if begin == 1 and state[UNTIL] > 0 then
    if known == false then
      state[UNKNOWN] = 1
    else
      if #known > 0 then state[VOUCHED] = max(state[VOUCHED], 1) end
      for _, id in ipairs(known) do
        if id ~= owner and call('HEXISTS', KEYS[2], id) == 0 then
          call('HSET', KEYS[2], id, pack({state[NEXT], 0, now, 0}))
          state[NEXT] = state[NEXT] + 1
        end
        call('ZADD', KEYS[3], 'NX', now, id)
      end
    end
  end
  if final == 0 and state[UNTIL] > now then
    state[UNTIL] = max(state[UNTIL], min(now + CALL_MS, state[START] + LONGEST_MS))
  end
  if final == 1 and row[4] ~= state[GEN] then
    row[4], state[STAMP] = state[GEN], state[STAMP] + 1
  end
end

local generation, me = state[GEN], row[1]
if op == 1 or now - row[3] >= BEAT_MS or now < row[3] then
  row[3] = now
  call('ZADD', KEYS[3], now, owner)
end
row[2] = sequence
call('HSET', KEYS[2], owner, pack(row))

-- Index -> {last ms, generation} of the owners heard of within hold_ttl; others are long dead.
local by_index
local function owners()
  if by_index then return by_index end
  by_index = {}
  local heard, ids = call('ZRANGEBYSCORE', KEYS[3], now - hold_ttl, '+inf', 'WITHSCORES'), {}
  for i = 1, #heard, 2 do ids[#ids + 1] = heard[i] end
  for i, each in ipairs(call('HMGET', KEYS[2], unpack(ids))) do
    if each then
      each = decode(each)
      by_index[each[1]] = {heard[2 * i] + 0, each[4]}
    end
  end
  return by_index
end

-- Who was alive when the store was last heard by anybody; while it hung, nobody could speak.
local function still_alive(latest)
  for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], latest - owner_ttl, '+inf')) do call('ZADD', KEYS[3], now, id) end
end

-- Count who is alive, once a second, and end a rebuild when everybody has declared.
if state[UNTIL] > 0 or now - state[COUNTED] >= 1000 or op == 1 or now < state[COUNTED] then
  if state[COUNTED] > 0 and now - state[COUNTED] > owner_ttl then still_alive(state[COUNTED]) end
  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 2 * hold_ttl)
  local alive = call('ZCOUNT', KEYS[3], now - owner_ttl, '+inf')
  if alive ~= state[ALIVE] then state[ALIVE], state[VERSION] = alive, max(us, state[VERSION] + 1) end
  state[DEAD] = call('HLEN', KEYS[2]) - call('ZCOUNT', KEYS[3], now - hold_ttl, '+inf')
  state[COUNTED], state_dirty = now, true
  local any = call('HRANDFIELD', KEYS[2])
  if any and now - decode(call('HGET', KEYS[2], any))[3] > FORGET_MS then call('HDEL', KEYS[2], any) end
  if state[UNTIL] > 0 then
    local silent, missing = false, false
    for _, each in pairs(owners()) do
      if each[2] ~= generation then
        silent, missing = true, missing or each[1] >= now - owner_ttl
      end
    end
    local soonest = state[VOUCHED] == 2 and 0 or state[VOUCHED] == 1 and PLANES_MS
      or state[UNKNOWN] == 1 and REBUILD_MS or NOBODY_MS
    local complete = not missing and now >= state[START] + soonest
    if now >= state[UNTIL] then
      -- Nobody may have asked in time; who fell silent meanwhile is missing all the same.
      complete = not silent and soonest < REBUILD_MS
    end
    if complete then state[COMPLETE], state[STAMP] = 1, state[STAMP] + 1 end
    if complete or now >= state[UNTIL] then state[UNTIL] = 0 end
  end
end
local alive, rebuilding = max(1, state[ALIVE]), state[UNTIL] > 0

-- What an owner had before a loss stands until it has declared anew; the missing stand until all have declared.
local function void(f)
  for i = 3, #f, 5 do
    local index = f[i]
    if index == 0 and state[COMPLETE] == 1 or index > 0 and f[i + 1] ~= generation
      and owners()[index] and owners()[index][2] == generation then
      f[i + 2], f[i + 3], f[i + 4] = 0, 0, 0
    end
  end
end

-- Take back what owners hold that were silent for longer than hold_ttl: all that is not used (of a GAUGE, everything).
-- Not sooner: a plane that is cut off may have spent its spare, and only it can say.
local function bury(f, kind)
  local changed = false
  for i = 3, #f, 5 do
    if f[i] > 0 and f[i] ~= me and not owners()[f[i]] and f[i + 3] + f[i + 4] > 0 then
      f[i + 3], f[i + 4], changed = 0, 0, true
      if kind == GAUGE then f[i + 2] = 0 end
    end
  end
  return changed
end

-- The sums of a slot, where the caller's own entry stands, and whether an entry may be void.
local function sums(f)
  local granted, used, own, doubtful = 0, 0, 0, false
  for i = 3, #f, 5 do
    granted, used = granted + f[i + 2] + f[i + 3] + f[i + 4], used + f[i + 2]
    if f[i] == me then own = i end
    if f[i + 1] ~= generation or f[i] == 0 then doubtful = true end
  end
  return granted, used, own, doubtful
end

local function clean_sums(f)
  local granted, used, own, doubtful = sums(f)
  if not doubtful then return granted, used, own end
  void(f)
  return sums(f)
end

local function held(f)
  local firm = 0
  for i = 3, #f, 5 do firm = firm + f[i + 2] + f[i + 3] end
  return firm
end

-- Without the entries that are nothing.
local function compact(f)
  local whole = true
  for i = 3, #f, 5 do
    if f[i + 2] + f[i + 3] + f[i + 4] == 0 then whole = false end
  end
  if whole then return f end
  local out = {f[1], f[2]}
  for i = 3, #f, 5 do
    if f[i + 2] + f[i + 3] + f[i + 4] > 0 then
      local n = #out
      out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = f[i], f[i + 1], f[i + 2], f[i + 3], f[i + 4]
    end
  end
  return out
end

-- All slots of a sliding counter but the present one, voided, and buried where asked: what they sum up to.
local function sweep(counter, burying)
  local fields, granted, used = call('HGETALL', counter.key), 0, 0
  for i = 1, #fields, 2 do
    if fields[i] ~= 'h' and fields[i] + 0 ~= counter.cur then
      local f = decode(fields[i + 1])
      void(f)
      if burying then bury(f, SLIDING) end
      call('HSET', counter.key, fields[i], pack(compact(f)))
      local g, u = sums(f)
      granted, used = granted + g, used + u
    end
  end
  return granted, used
end

-- Slots that no longer count go; what is left adds up to `base` without the present slot.
local function load_sliding(counter)
  local key, width, kept = counter.key, counter.a, counter.b
  local head = call('HGET', key, 'h')
  head = head and decode(head) or {0, 0, 0, 0, 0, state[STAMP]}
  local cur = max(floor(now / width), head[1])
  counter.cur, counter.pressed, counter.stamp = cur, head[2], head[6]
  local granted, used, oldest = head[3], head[4], head[5]
  if head[1] < cur - kept then
    if head[1] > 0 then call('DEL', key) end
    granted, used, oldest = 0, 0, cur
  elseif oldest < cur - kept then
    local gone = {}
    for slot = oldest, cur - kept - 1 do gone[#gone + 1] = slot end
    for _, each in ipairs(call('HMGET', key, unpack(gone))) do
      if each then
        local g, u = sums(decode(each))
        granted, used = granted - g, used - u
      end
    end
    call('HDEL', key, unpack(gone))
    oldest, counter.dirty = cur - kept, true
  end
  counter.oldest = oldest
  local f = head[1] == cur and call('HGET', key, cur)
  f = f and decode(f) or {cur, 0}
  local g, u = sums(f)
  counter.f, counter.base, counter.base_used = f, granted - g, used - u
  if head[6] ~= state[STAMP] then
    counter.base, counter.base_used = sweep(counter, false)
    counter.dirty = true
  end
end

local function load_slot(counter)
  local f = call('GET', counter.key)
  f = f and decode(f)
  local stored = f and f[1] or -1
  counter.base, counter.base_used, counter.expires = 0, 0, now + GAUGE_MS
  if counter.kind == GAUGE then
    counter.cur = 0
  else
    local cur
    if now >= counter.a and now < counter.b then
      cur, counter.expires = counter.a, counter.b
    elseif now >= counter.b and now < counter.c then
      cur, counter.expires = counter.b, counter.c
    end
    if not cur or stored > cur then
      counter.expires, counter.unknown = nil, not cur
      cur = stored
    end
    counter.cur = cur
    if cur > stored then f = nil end
  end
  counter.f = f or {counter.cur, 0}
  counter.pressed = counter.f[2]
end

-- The caller's own entry, made where it is missing.
local function own_entry(counter)
  local f, own = counter.f, counter.own
  if own == 0 then
    own = #f + 1
    f[own], f[own + 1], f[own + 2], f[own + 3], f[own + 4] = me, generation, 0, 0, 0
    counter.own = own
  end
  f[own + 1], counter.dirty = generation, true
  return f, own
end

-- One owner's figures in a slot become these; nobody gets more spare by saying so.
local function set_figures(f, own, used, firm, keep, most)
  firm = max(firm, used)
  local granted = max(firm, min(keep, most))
  f[own], f[own + 1], f[own + 2], f[own + 3], f[own + 4] = me, generation, used, firm - used, granted - firm
end

local function add_up(counter)
  local granted, used, own = clean_sums(counter.f)
  counter.slot_total, counter.own = granted, own
  counter.total, counter.used = counter.base + granted, counter.base_used + used
end

-- What an owner reports of an older slot that still counts.
local function report_old(counter, slot, used, firm, keep)
  local f = call('HGET', counter.key, slot)
  f = f and decode(f) or {slot, 0}
  void(f)
  local g, u, own = sums(f)
  local had = own > 0 and f[own + 2] + f[own + 3] + f[own + 4] or 0
  if own == 0 then own = #f + 1 end
  set_figures(f, own, used, firm, keep, had)
  call('HSET', counter.key, slot, pack(compact(f)))
  local new_g, new_u = sums(f)
  counter.base, counter.base_used = counter.base + new_g - g, counter.base_used + new_u - u
  counter.total, counter.used = counter.total + new_g - g, counter.used + new_u - u
  counter.oldest, counter.dirty = min(counter.oldest, slot), true
end

local function report(counter, slot, used, firm, keep)
  if slot == counter.cur and slot >= 0 then
    counter.reported = true
    local own = counter.own
    local f = counter.f
    if own == 0 and firm == 0 and used == 0 then return end
    local had_used = own > 0 and f[own + 2] or 0
    local had = own > 0 and had_used + f[own + 3] + f[own + 4] or 0
    if own > 0 and counter.kind ~= GAUGE and used == had_used and firm == used + f[own + 3] and keep >= had
      and f[own + 1] == generation then
      return -- Nothing new. (A gauge is written even so, to live on.)
    end
    f, own = own_entry(counter)
    set_figures(f, own, used, firm, keep, had)
    local grown = used + f[own + 3] + f[own + 4] - had
    counter.slot_total, counter.total = counter.slot_total + grown, counter.total + grown
    counter.used = counter.used + used - had_used
  elseif counter.kind == SLIDING and slot < counter.cur and slot >= counter.cur - counter.b then
    report_old(counter, slot, used, firm, keep)
  elseif slot > counter.cur then
    counter.ahead = true
  end
end

local function load_bucket(counter)
  local raw = call('GET', counter.key)
  local f = raw and decode(raw) or {us, 0, 0}
  if f[1] < us then f[1], f[2] = us, 0 end
  counter.f, counter.pressed = f, f[3]
  counter.capacity = floor(counter.a * counter.b / 1000) - counter.c
end

local function debit(counter, tokens)
  local f = counter.f
  local nanoseconds = f[2] + tokens * counter.a
  f[1], f[2], counter.dirty = f[1] + floor(nanoseconds / 1000), nanoseconds % 1000, true
end

-- What has flowed back since it was taken is not given twice.
local function give_back(counter, taken_at, tokens)
  local f = counter.f
  local back = min(floor(tokens * counter.a / 1000), taken_at - us, f[1] - us)
  if back > 0 then f[1], counter.dirty = f[1] - back, true end
end

local counters = {}
for index, each in ipairs(asked) do
  local counter = {kind = each[1], a = each[2], b = each[3], c = each[4], key = KEYS[3 + index], dirty = false}
  counters[index] = counter
  if counter.kind == BUCKET then
    load_bucket(counter)
    for i = 5, #each, 4 do
      if each[i + 3] > 0 then give_back(counter, each[i], each[i + 3]) end
      if each[i + 1] > 0 then debit(counter, each[i + 1]) end
    end
  else
    if counter.kind == SLIDING then load_sliding(counter) else load_slot(counter) end
    add_up(counter)
    counter.believed = -1
    for i = 5, #each, 4 do
      report(counter, each[i], each[i + 1], each[i + 2], each[i + 3])
      counter.believed = max(counter.believed, each[i])
    end
  end
end

-- Room for `need`, after taking back what the dead hold if that is what it takes.
local function room(counter, limit, need)
  local rest = limit - counter.total
  if rest < need and need <= limit and state[DEAD] > 0 then
    if bury(counter.f, counter.kind) then counter.dirty = true end
    if counter.kind == SLIDING and not counter.swept then
      counter.base, counter.base_used = sweep(counter, true)
      counter.swept, counter.dirty = true, true
    end
    add_up(counter)
    rest = limit - counter.total
  end
  return rest
end

-- Milliseconds until so much of a sliding window has gone by that `need` fits.
local function sliding_retry(counter, excess)
  local fields, slots = call('HGETALL', counter.key), {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'h' and fields[i] + 0 ~= counter.cur then
      slots[#slots + 1] = {fields[i] + 0, (sums(decode(fields[i + 1])))}
    end
  end
  table.sort(slots, function(x, y) return x[1] < y[1] end)
  slots[#slots + 1] = {counter.cur, counter.slot_total}
  for _, each in ipairs(slots) do
    excess = excess - each[2]
    if excess <= 0 then return max(1, (each[1] + counter.b + 1) * counter.a - now) end
  end
  return max(1, (counter.cur + counter.b + 1) * counter.a - now)
end

local function retry(counter, limit, need)
  if need > limit then return -1 end
  if counter.kind == WINDOW then return max(1, (counter.cur == counter.a and counter.b or counter.c) - now) end
  if counter.kind == SLIDING then return sliding_retry(counter, counter.total + need - limit) end
  return 1000
end

local function press(counter)
  local second = floor(now / 1000)
  if counter.pressed ~= second then counter.pressed, counter.dirty = second, true end
end

local function is_pressed(counter)
  return now - counter.pressed * 1000 < (PRESSED_SECONDS + 1) * 1000
end

-- Each returns a status, how much was granted, and after how many milliseconds to try again.
local function take_bucket(counter, limit, need, want)
  if rebuilding and limit >= 0 and need > 0 then return REBUILDING, 0, state[UNTIL] - now end
  local give = max(need, want)
  if limit >= 0 then
    local free = counter.capacity - (counter.f[1] - us)
    local rest = floor((free * 1000 - counter.f[2]) / counter.a)
    if need > rest then
      press(counter)
      local whole = ceil(need * counter.a / 1000)
      return REFUSED, 0, whole > counter.capacity and -1 or max(1, ceil((whole - free) / 1000))
    end
    give = is_pressed(counter) and need or min(give, max(need, floor(rest / (4 * alive))))
  end
  if give > 0 then debit(counter, give) end
  return OK, give, 0
end

local function take(counter, limit, need, want)
  if counter.unknown then return BOUNDS_UNKNOWN, 0, 0 end
  if not counter.reported and counter.believed < counter.cur and counter.own > 0 then
    -- The caller has not yet seen this slot: what is its own here are answers that it never got.
    report(counter, counter.cur, 0, 0, 0)
  end
  counter.reported = true
  local give = max(need, want)
  if limit >= 0 then
    if rebuilding then
      if need > 0 then return REBUILDING, 0, state[UNTIL] - now end
      return OK, 0, 0
    end
    local rest = room(counter, limit, need)
    if need > 0 and rest < need then
      press(counter)
      return REFUSED, 0, retry(counter, limit, need)
    end
    give = is_pressed(counter) and need or min(give, max(need, floor(rest / (4 * alive))))
  end
  return OK, give, 0
end

-- What is needed is held at once; what is granted beyond it is spare.
local function grant(counter, need, give)
  if give == 0 then return end
  local f, own = own_entry(counter)
  f[own + 3], f[own + 4] = f[own + 3] + need, f[own + 4] + give - need
  counter.slot_total, counter.total = counter.slot_total + give, counter.total + give
end

local function result(counter, status, give, wait)
  local pressed = is_pressed(counter) and 1 or 0
  if counter.kind == BUCKET then
    local debt = max(0, ceil(((counter.f[1] - us) * 1000 + counter.f[2]) / counter.a))
    return {status, counter.f[1], give, debt, debt, debt, wait, pressed}
  end
  local f, own = counter.f, counter.own
  local granted = own > 0 and f[own + 2] + f[own + 3] + f[own + 4] or 0
  local used = counter.kind == GAUGE and held(f) or counter.used
  return {status, counter.cur, granted, counter.slot_total, counter.total, used, wait, pressed}
end

local function decide(lines)
  local n, refused = #lines / 4, false
  local status, gave, wait = {}, {}, {}
  for i = 1, n do
    local at = 4 * i
    local counter, limit, need, want = counters[lines[at - 3]], lines[at - 2], lines[at - 1], lines[at]
    if need > 0 or want > 0 then
      if counter.kind == BUCKET then
        status[i], gave[i], wait[i] = take_bucket(counter, limit, need, want)
      else
        status[i], gave[i], wait[i] = take(counter, limit, need, want)
        grant(counter, need, gave[i])
      end
      if status[i] ~= OK then refused = true end
    else
      status[i], gave[i], wait[i] = counter.ahead and BOUNDS_UNKNOWN or OK, 0, 0
    end
  end
  if refused then
    for i = 1, n do
      local counter, need = counters[lines[4 * i - 3]], lines[4 * i - 1]
      if status[i] == OK then
        if gave[i] > 0 and counter.kind == BUCKET then
          debit(counter, -gave[i])
        elseif gave[i] > 0 then
          grant(counter, -need, -gave[i])
        end
        gave[i], status[i] = 0, (need > 0) and NOT_TRIED or OK
      end
    end
  end
  local out = {}
  for i = 1, n do out[i] = result(counters[lines[4 * i - 3]], status[i], gave[i], wait[i]) end
  return out
end

-- One row of a declaration. While the store is rebuilt all of it is believed, and what the row's owner saw of others
-- stands for those who are missing; later, only what is firm, and spare that fits.
local function declare(counter, slot, limit, used, firm, keep, total)
  if counter.kind == BUCKET then
    if slot > counter.f[1] then counter.f[1], counter.f[2], counter.dirty = slot, 0, true end
    return result(counter, OK, 0, 0)
  end
  local older = slot ~= counter.cur
  if older and not (counter.kind == SLIDING and slot < counter.cur and slot >= counter.cur - counter.b) then
    return result(counter, OK, 0, 0)
  end
  local f = counter.f
  if older then
    f = call('HGET', counter.key, slot)
    f = f and decode(f) or {slot, 0}
    void(f)
  end
  local granted, had_used, own = sums(f)
  local first = own == 0 or f[own + 1] ~= generation
  local had = own > 0 and f[own + 2] + f[own + 3] + f[own + 4] or 0
  if own == 0 then own = #f + 1 end
  local most = keep
  if not rebuilding then
    local others = counter.total - had
    most = max(had, firm, limit < 0 and keep or min(keep, limit - others))
  end
  set_figures(f, own, used, firm, keep, most)
  local mine = f[own + 2] + f[own + 3] + f[own + 4]
  local missing = 0
  for i = 3, #f, 5 do if f[i] == 0 then missing = i end end
  local floor_of = missing > 0 and f[missing + 2] + f[missing + 3] + f[missing + 4] or 0
  local left = first and max(0, floor_of - mine) or floor_of
  if rebuilding then left = max(left, total - (granted - floor_of - had + mine)) end
  if missing == 0 and left > 0 then missing = #f + 1 end
  if missing > 0 then
    f[missing], f[missing + 1], f[missing + 2], f[missing + 3], f[missing + 4] = 0, generation, 0, left, 0
  end
  if older then
    local g, u = sums(f)
    call('HSET', counter.key, slot, pack(compact(f)))
    counter.base, counter.base_used = counter.base + g - granted, counter.base_used + u - had_used
    counter.oldest = min(counter.oldest, slot)
  end
  counter.dirty = true
  add_up(counter)
  if not older then return result(counter, OK, 0, 0) end
  local g = sums(f)
  return {OK, counter.cur, mine, g, counter.total, counter.used, 0, 0}
end

local results = {}
if op == 0 then
  for i, lines in ipairs(body) do results[i] = decide(lines) end
else
  for i, each in ipairs(body) do
    results[i] = declare(counters[each[1]], each[2], each[3], each[4], each[5], each[6], each[7])
  end
end

for _, counter in ipairs(counters) do
  if counter.dirty then
    local f = counter.f
    if counter.kind == BUCKET then
      f[3] = counter.pressed
      call('SET', counter.key, pack(f), 'PXAT', ceil(f[1] / 1000) + GRACE_MS)
    elseif counter.kind == SLIDING then
      call('HSET', counter.key, counter.cur, pack(compact(f)), 'h', pack({counter.cur, counter.pressed,
        counter.total, counter.used, counter.oldest, state[STAMP]}))
      call('PEXPIREAT', counter.key, (counter.cur + counter.b + 1) * counter.a + GRACE_MS)
    else
      f[2] = counter.pressed
      f = compact(f)
      if #f == 2 and counter.kind == GAUGE then
        call('DEL', counter.key)
      elseif counter.expires then
        call('SET', counter.key, pack(f), 'PXAT', counter.expires + GRACE_MS)
      elseif counter.cur >= 0 then
        call('SET', counter.key, pack(f), 'KEEPTTL')
      end
    end
  end
end
if state_dirty then call('SET', KEYS[1], pack(state)) end

local members = {}
if version ~= state[VERSION] then members = call('ZRANGEBYSCORE', KEYS[3], now - owner_ttl, '+inf') end
return pack({0, state[EPOCH], now, alive, state[VERSION], members, results})

-- Part of every script: the grant rule (`grant.rs`), applied to what is stored.

-- In a function of its own, so that an uncontended acquire need not make it.
local function load_rule()
  local PATIENCE = 3000000
  -- Added to ranks in the members of the queue, so that what is moved before an upgrade (rank 0)
  -- still has a rank without a sign, and all are of one width.
  local RANK_BASE = 1000000
  local rule = { reaped = 0 }

  local function waiter_member(row)
    return row.name .. '\0' .. string.format('%016.0f', row.rank + RANK_BASE) .. '\0'
      .. string.format('%016.0f', row.ticket) .. '\0' .. row.request
  end

  local function owner_member(row)
    return '\0' .. row.owner .. '\0' .. row.name .. '\0' .. row.request
  end

  function rule.enqueue(row)
    call('ZADD', QUEUE, 0, waiter_member(row), 0, owner_member(row))
    write_row(row)
  end

  local function dequeue(row)
    call('ZREM', QUEUE, waiter_member(row), owner_member(row))
  end
  rule.dequeue = dequeue

  -- Reads the rows of members of `holders` or `queue`.
  local function rows_of(members, read)
    local rows = {}
    for first = 1, #members, 200 do
      local ids = {}
      for index = first, math.min(first + 199, #members) do
        ids[#ids + 1] = members[index]:match('^.*%z(.*)$')
      end
      for index, packed in ipairs(call('HMGET', REQUESTS, unpack(ids))) do
        if not packed then
          error('damaged: the request ' .. ids[index] .. ' is in a queue but has no row')
        end
        rows[#rows + 1] = read(packed)
      end
    end
    return rows
  end

  -- All rows that hold the name, or any name; `read` makes of a packed row what is wanted of it.
  function rule.holders(name, read)
    local from, to = '-', '+'
    if name then
      from, to = '[' .. name .. '\0', '(' .. name .. '\1'
    end
    return rows_of(call('ZRANGEBYLEX', HOLDERS, from, to), read or read_row)
  end

  -- All rows that wait for the name, or any name, by rank.
  function rule.waiters(name)
    local from, to = '[\1', '+'
    if name then
      from, to = '[' .. name .. '\0', '(' .. name .. '\1'
    end
    return rows_of(call('ZRANGEBYLEX', QUEUE, from, to), read_row)
  end

  function rule.count_waiters(name)
    return call('ZLEXCOUNT', QUEUE, '[' .. name .. '\0', '(' .. name .. '\1')
  end

  -- The place of a waiter in its queue, from 1.
  function rule.position(row)
    return call('ZLEXCOUNT', QUEUE, '[' .. row.name .. '\0', '[' .. waiter_member(row))
  end

  -- Shows the waiters before `stop` one by one, until `visit` says true. It may remove what it is shown.
  local function each_waiter(name, stop, visit)
    local from, size = '[' .. name .. '\0', 2
    while true do
      local members = call('ZRANGEBYLEX', QUEUE, from, '(' .. stop, 'LIMIT', 0, size)
      if #members == 0 then
        return
      end
      for _, row in ipairs(rows_of(members, read_row)) do
        if visit(row) then
          return
        end
      end
      if #members < size then
        return
      end
      from, size = '(' .. members[size], 16
    end
  end

  local sessions = {}

  -- Lease and last contact.
  local function life_of(session)
    local known = sessions[session]
    if not known then
      local packed = call('HGET', SESSIONS, session)
      local seen = packed and call('ZSCORE', SEEN, session)
      known = { lease = packed and cmsgpack.unpack(packed) or 0, seen = tonumber(seen or 0) }
      sessions[session] = known
    end
    return known
  end

  -- Until when a request counts if its session makes no more contact; `since` is 0 while it waits.
  local function expiry(session, since, max_hold)
    local life = life_of(session)
    if since == 0 then
      return life.seen + math.min(life.lease, PATIENCE)
    end
    local at = life.seen >= since and life.seen + life.lease or since + PATIENCE
    if life.seen == 0 then
      at = 0
    end
    if max_hold > 0 then
      at = math.min(at, since + max_hold)
    end
    return at
  end

  function rule.expired(row)
    return expiry(row.session, row.since, row.max_hold) < now
  end

  -- Takes a waiting request out of its queue. The walk is the caller's.
  function rule.give_up(row, why)
    local waited = math.max(now - row.requested, 0)
    call('HDEL', REQUESTS, row.request)
    call('ZREM', QUEUE, waiter_member(row), owner_member(row))
    keep(row.name, why, row.mode, row.label, row.pid, 0, now, waited, -1)
    event(why, row, waited)
  end

  -- Removes an expired request. The walk is the caller's.
  function rule.reap(row)
    if is_held(row) then
      let_go(row, 'recovered', 'recovered')
    else
      rule.give_up(row, 'recovered')
    end
    call('HINCRBY', COUNTERS, 'reaped', 1)
    rule.reaped = rule.reaped + 1
  end

  local function members_of(name, mode, owner, limit)
    local region = name .. '\0' .. mode .. '\0' .. owner
    return call('ZRANGEBYLEX', HOLDERS, '[' .. region .. '\0', '(' .. region .. '\1', 'LIMIT', 0, limit)
  end

  -- The strongest mode that the owner itself holds; `held` is the result of `look`.
  function rule.own_mode(name, owner, held)
    if held.writer == owner then
      return 'write'
    end
    if held.reader == owner or held.several and members_of(name, 'r', owner, 1)[1] then
      return 'read'
    end
    return nil
  end

  -- What a re-entry gets: the token of the owner's strongest grant.
  function rule.own_token(name, owner, own)
    local members, token = members_of(name, own == 'write' and 'W' or 'r', owner, -1), 0
    for _, row in ipairs(rows_of(members, read_row)) do
      token = math.max(token, row.token)
    end
    return token
  end

  function rule.covers(own, mode)
    return own == 'write' or own == mode
  end

  -- Whether what owners besides this one hold admits the mode.
  local function admits(held, owner, mode)
    if held.writer then
      return held.writer == owner
    end
    return mode == 'read' or not held.several and (not held.reader or held.reader == owner)
  end
  rule.admits = admits

  -- Whether no waiter that stands before the row conflicts with it.
  function rule.is_next(row)
    local free = true
    each_waiter(row.name, waiter_member(row), function(waiter)
      free = waiter.mode == 'read' and row.mode == 'read'
      return not free
    end)
    return free
  end

  local function waits(name, owner)
    local region = '\0' .. owner .. '\0' .. name
    return call('ZRANGEBYLEX', QUEUE, '[' .. region .. '\0', '(' .. region .. '\1', 'LIMIT', 0, 1)[1]
  end

  local function grant(row, held)
    local own = rule.own_mode(row.name, row.owner, held)
    local token = rule.covers(own, row.mode) and rule.own_token(row.name, row.owner, own) or stamp()
    dequeue(row)
    hold(row, token)
    if row.mode == 'write' then
      held.writer = row.owner
    else
      held.several = held.several or held.reader and held.reader ~= row.owner
      held.reader = row.owner
    end
    event('grant', row, row.waited)
    push(row.session, '{"granted":{"request":' .. quote(row.request) .. ',' .. grant_json(row):sub(#'{"granted":{' + 1))
  end

  -- Grants whoever's turn it is, and reaps the dead whom it meets. Readers that stay do so behind a
  -- foreign writer; then only what that writer itself waits for can follow.
  function rule.walk(name)
    local held, reader_stayed
    each_waiter(name, name .. '\1', function(row)
      held = held or look(name)
      if rule.expired(row) then
        rule.reap(row)
      elseif admits(held, row.owner, row.mode) and not (row.mode == 'write' and reader_stayed) then
        grant(row, held)
      elseif row.mode == 'write' then
        return true
      else
        reader_stayed = true
        return not (held.writer and waits(name, held.writer))
      end
      return false
    end)
  end

  -- Removes what is dead among the holders and at the head of the queue, and walks. Returns when the
  -- next holder could expire.
  function rule.tick(name)
    local next_expiry
    rule.holders(name, function(packed)
      local _, session, since, max_hold = cmsgpack.unpack_limit(packed, 3)
      local at = expiry(session, since, max_hold)
      if at < now then
        rule.reap(read_row(packed))
      elseif not next_expiry or at < next_expiry then
        next_expiry = at
      end
    end)
    rule.walk(name)
    return next_expiry
  end

  return rule
end

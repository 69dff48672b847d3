-- Part of every script: rows as others see them.

local function load_view()
  local view = {}
  local sessions = {}

  -- Process id, host and program of a session, and its last contact; of one that is gone nothing is known.
  local function process_of(session)
    if not sessions[session] then
      local packed = call('HGET', SESSIONS, session)
      local process = { host = '', program = '', lease = 0, seen = 0 }
      if packed then
        process.lease, process.pid, process.host, process.program = cmsgpack.unpack(packed)
        process.seen = tonumber(call('ZSCORE', SEEN, session) or 0)
      end
      process.quoted_host = quote(process.host)
      sessions[session] = process
    end
    return sessions[session]
  end
  view.process_of = process_of

  function view.row(row)
    local process = process_of(row.session)
    return '{"request":' .. quote(row.request) .. ',"name":' .. quote(row.name) .. ',"state":"'
      .. (is_held(row) and 'held' or 'waiting') .. '","mode":"' .. row.mode .. '","owner":' .. quote(row.owner)
      .. ',"family":' .. quote(row.family) .. ',"label":' .. quote(row.label) .. ',"note":' .. quote(row.note)
      .. ',"session":' .. quote(row.session) .. ',"host":' .. process.quoted_host
      .. string.format(
        ',"priority":%.0f,"pid":%.0f,"requested":%.0f,"since":%.0f,"token":%.0f,"rank":%.0f,"ticket":%.0f,'
        .. '"seen":%.0f,"lease":%.0f}',
        row.priority, row.pid, row.requested, row.since, row.token, row.rank, row.ticket,
        process.seen, process.lease)
  end

  function view.rows(rows)
    local texts = {}
    for index, row in ipairs(rows) do
      texts[index] = view.row(row)
    end
    return table.concat(texts, ',')
  end

  function view.held(rows)
    table.sort(rows, function(a, b)
      return a.token < b.token or a.token == b.token and a.ticket < b.ticket
    end)
    return view.rows(rows)
  end

  -- What a request sees that is not granted.
  function view.busy(rule, name)
    return '"now":' .. NOW .. ',"holders":[' .. view.held(rule.holders(name)) .. '],"waiters":'
      .. whole(rule.count_waiters(name))
  end

  return view
end

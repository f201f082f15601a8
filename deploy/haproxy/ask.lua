-- Asks the gateway's auth policy about a request, as Traefik's forwardAuth does: `http-request lua.ask URL`.

-- Headers of one connection, or of a body, which is not sent along.
local own = {
  ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["keep-alive"] = true, ["proxy-connection"] = true,
  ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

-- What the policy sees of the request: its headers, and how it began. What the client claims of that is left out.
local function question(txn)
  local headers = {}
  for name, values in pairs(txn.http:req_get_headers()) do
    if not own[name] and not name:find("^x%-forwarded%-") and not name:find("^x%-original%-") then
      headers[name] = {}
      for _, value in pairs(values) do
        table.insert(headers[name], value)
      end
    end
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-host"] = { txn.f:req_fhdr("host") or "" }
  headers["x-forwarded-for"] = { txn.f:src() }
  return headers
end

-- Ends the request with the policy's own words.
local function refuse(txn, answer)
  local reply = txn:reply({ status = answer.status })
  for name, values in pairs(answer.headers) do
    if not own[name] then
      for _, value in pairs(values) do
        reply:add_header(name, value)
      end
    end
  end
  reply:set_body(answer.body)
  txn:done(reply)
end

core.register_action("ask", { "http-req" }, function(txn, url)
  local answer = core.httpclient():get({ url = url, headers = question(txn) })
  -- The gateway says so of every decision; HAProxy's client has answers of its own, for when there is none.
  local decided = answer.headers and answer.headers["x-policy-decision-id"]
  if not decided then
    txn:set_var("txn.undecided", true)
  elseif answer.status == 200 then
    -- These three and no others: they replace what a client made up.
    for _, name in ipairs({ "x-auth-caller", "x-auth-tenant", "x-auth-groups" }) do
      local values = answer.headers[name]
      txn.http:req_set_header(name, values and values[0] or "")
    end
  else
    refuse(txn, answer)
  end
end, 1)

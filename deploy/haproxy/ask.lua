-- Asks the gateway's auth policy about a request, as Traefik's forwardAuth does: `http-request lua.ask URL`.

-- Headers of one connection, or of a body: the question has no body, so these are not passed on.
local own = {
  ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["keep-alive"] = true, ["proxy-connection"] = true,
  ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

-- The data of the request for the policy: its headers, method, URI, host and client address. Headers in which the client claims
-- the last four are left out.
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

-- Ends the request with the policy's own answer.
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
  -- Every decision of the gateway has this header. HAProxy's client makes an answer of its own when the gateway does not answer.
  local decided = answer.headers and answer.headers["x-policy-decision-id"]
  if not decided then
    txn:set_var("txn.undecided", true)
  elseif answer.status == 200 then
    -- These three headers and no others: they overwrite the values that a client invented.
    for _, name in ipairs({ "x-auth-caller", "x-auth-tenant", "x-auth-groups" }) do
      local values = answer.headers[name]
      txn.http:req_set_header(name, values and values[0] or "")
    end
  else
    refuse(txn, answer)
  end
end, 1)

-- 4,096 different requests, each with its own path, query, cookie, referer and trace header: nothing that a
-- server remembers of earlier header lines can serve them. Made before the load starts, so that the load stays cheap.

local requests, turn = {}, 0

function init(args)
   math.randomseed(4096)
   local function hex(digits)
      local out = {}
      for i = 1, digits do out[i] = string.format("%x", math.random(0, 15)) end
      return table.concat(out)
   end
   for i = 1, 4096 do
      local headers = {}
      for name, value in pairs(wrk.headers) do headers[name] = value end
      headers["Cookie"] = "session=" .. hex(32) .. "; seen=" .. i
      headers["Referer"] = "http://localhost/shelf/" .. hex(8) .. "/" .. i
      headers["Traceparent"] = "00-" .. hex(32) .. "-" .. hex(16) .. "-01"
      requests[i] = wrk.format("GET", "/shelf/" .. hex(8) .. "/book/" .. i .. "?page=" .. i % 97, headers)
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

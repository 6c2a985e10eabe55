wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local body = '{"sent_by":{"id":"639575b2c280a7001e892906","name":"Samantha Smith","username":"samantha",'
  .. '"avatar":"urltoavatar.com/mercyavatar.jpg"},"sent_to":[{"id":"289575b9b280a7001e892956","name":"Jackie",'
  .. '"username":"jackie_01","avatar":"urltoavatar.com/mercyavatar.jpg"}],"chat_id":"63d3e12d669fc928b3d%05d",'
  .. '"text":"Hello guys! How was your weekend? Shall we meet on Thursday?","file":{"type":"image",'
  .. '"url":"https://urltofile.com/image.jpeg","name":"Assignment Project","size":"2 MB"},"metadata":{},"chat_metadata":{}}'
local number = 0
request = function()
  number = number + 1
  return wrk.format(nil, nil, nil, string.format(body, number % 1000))
end

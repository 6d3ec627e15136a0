-- Health of Tidegate's objects, the same for every kind. It follows from the conditions that the operator writes.
-- Argo CD runs this for each change of an object, without Lua's libraries beyond the basic ones.

local function health(status, message)
  return {status = status, message = message}
end

local generation = obj.metadata.generation or 0
local status = obj.status or {}

if (status.observedGeneration or 0) < generation then
  return health("Progressing", "Waiting for the operator to judge generation " .. tostring(generation) .. ".")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local accepted, refs = conditions.Accepted, conditions.ResolvedRefs
local programmed, ready = conditions.Programmed, conditions.Ready

if accepted == nil or ready == nil then
  return health("Progressing", "Waiting for the operator to write the conditions.")
end

if accepted.status == "False" then
  local message = accepted.message
  if status.servedGeneration ~= nil then
    message = message .. ". The last good form, generation " .. tostring(status.servedGeneration) .. ", is serving."
  elseif programmed == nil or programmed.reason ~= "NotPlaced" then
    message = message .. ". Nothing of this object is served."
  end
  return health("Degraded", message)
end

if ready.status == "True" then
  local message = ready.message
  if programmed ~= nil and programmed.status == "True" and programmed.message ~= message then
    message = message .. " (" .. programmed.message .. ")"
  end
  return health("Healthy", message)
end

if refs ~= nil and refs.status == "False" then
  return health("Degraded", refs.message)
end

-- Of what is Stalled somebody must do something about: a data plane refused it, or it was rolled back.
if conditions.Stalled ~= nil or ready.reason == "NotServed" then
  return health("Degraded", ready.message)
end

if ready.reason == "Frozen" then
  return health("Suspended", ready.message)
end

return health("Progressing", ready.message)

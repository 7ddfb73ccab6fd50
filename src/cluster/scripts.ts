// The scripts that Valkey runs, each as one step that nothing else interrupts. All keys begin with the first argument.

/** Keys and channels, after the prefix. */
export const keys = {
  /** When the data of this Valkey began, in ms by its clock. */
  epoch: "epoch",
  /** The ids of all members. */
  members: "members",
  member: (id: string) => `member:${id}`,
  lease: (repository: string) => `lease:${repository}`,
  fence: (repository: string) => `fence:${repository}`,
  current: (state: string) => `current:${state}`,
  /** By suite and order: all publications that are kept, and when suites were taken out of service. */
  kept: (state: string) => `kept:${state}`,
  /** The last commands about pins and rollbacks. */
  snapshots: (state: string) => `snapshots:${state}`,
  /** The first owners of names. */
  firstOwners: (state: string) => `first-owners:${state}`,
  pings: (repository: string) => `pings:${repository}`,
} as const;

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * The time as `now`, and since when Valkey has data as `epoch`, both in ms by the clock of Valkey. KEYS[1] must be the
 * key of the epoch. If the clock was put back, the data begins now.
 */
export const nowAndEpoch = `${now}
local epoch = redis.call('GET', KEYS[1])
if not epoch or tonumber(epoch) > now then
  epoch = string.format('%.0f', now)
  redis.call('SET', KEYS[1], epoch)
end
`;

/**
 * Tells that a member is alive, renews its leases, and takes free ones. After the data of Valkey began, no lease is
 * taken for some time: all members tell first what they know.
 *
 * Arguments: prefix, id, description, "1" if publications must wait for this member, how long it counts as alive, how
 * long a lease lasts, the time without leases, the number of repositories, for each of them its name and "1" if its
 * lease is wanted, and the names under which publications are kept.
 *
 * Reply: the time, the time since when this Valkey has data, a list of the members ("TIME DESCRIPTION"), a list of
 * holder and fence for each repository, a list for each name of publications (suite, "ORDER STATE", suite, …).
 */
export const beatScript = `${nowAndEpoch}
local prefix, id = ARGV[1], ARGV[2]
redis.call('SADD', prefix .. 'members', id)
redis.call('SET', prefix .. 'member:' .. id, string.format('%.0f ', now) .. ARGV[3], 'PX', ARGV[5])
if ARGV[4] == '1' then
  redis.call('SET', prefix .. 'alive:' .. id, '1', 'PX', ARGV[5])
else
  redis.call('DEL', prefix .. 'alive:' .. id)
end
local members = {}
for _, member in ipairs(redis.call('SMEMBERS', prefix .. 'members')) do
  local told = redis.call('GET', prefix .. 'member:' .. member)
  if told then members[#members + 1] = told else redis.call('SREM', prefix .. 'members', member) end
end
local at, count, leases = 9, tonumber(ARGV[8]), {}
for _ = 1, count do
  local lease, fence = prefix .. 'lease:' .. ARGV[at], prefix .. 'fence:' .. ARGV[at]
  local holder = redis.call('GET', lease)
  if holder == id then
    redis.call('PEXPIRE', lease, ARGV[6])
  elseif not holder and ARGV[at + 1] == '1' and now - tonumber(epoch) >= tonumber(ARGV[7]) then
    holder = id
    local last = tonumber(redis.call('GET', fence) or '0')
    redis.call('SET', fence, string.format('%.0f', math.max(now, last + 1)))
    redis.call('SET', lease, id, 'PX', ARGV[6])
  end
  leases[#leases + 1] = { holder or '', redis.call('GET', fence) or '0' }
  at = at + 2
end
local current = {}
for index = at, #ARGV do current[#current + 1] = redis.call('HGETALL', prefix .. 'current:' .. ARGV[index]) end
return { string.format('%.0f', now), epoch, members, leases, current }
`;

/**
 * Makes a publication the current one, if the lease is held, every member that publications wait for has prepared it,
 * and none that is later is current.
 *
 * Arguments: prefix, id, repository, fence, state name, suite, order, state, message, how long values are kept, the
 * number of values to store, for each of them its key and the value, and the ids of the members that have prepared the
 * publication.
 *
 * Reply: "done", "lost", "late", or "missing" and the ids of the other members.
 */
export const commitScript = `
local prefix, id = ARGV[1], ARGV[2]
if redis.call('GET', prefix .. 'lease:' .. ARGV[3]) ~= id then return { 'lost' } end
if redis.call('GET', prefix .. 'fence:' .. ARGV[3]) ~= ARGV[4] then return { 'lost' } end
local prepared, missing = { [id] = true }, {}
local after = 12 + 2 * tonumber(ARGV[11])
for index = after, #ARGV do prepared[ARGV[index]] = true end
for _, member in ipairs(redis.call('SMEMBERS', prefix .. 'members')) do
  if not prepared[member] and redis.call('EXISTS', prefix .. 'alive:' .. member) == 1 then
    missing[#missing + 1] = member
  end
end
if #missing > 0 then return { 'missing', unpack(missing) } end
local known = redis.call('HGET', prefix .. 'current:' .. ARGV[5], ARGV[6])
if known and tonumber(string.match(known, '^%d+')) >= tonumber(ARGV[7]) then return { 'late' } end
for index = 12, after - 1, 2 do redis.call('SET', prefix .. ARGV[index], ARGV[index + 1], 'PX', ARGV[10]) end
redis.call('HSET', prefix .. 'current:' .. ARGV[5], ARGV[6], ARGV[7] .. ' ' .. ARGV[8])
redis.call('HSET', prefix .. 'kept:' .. ARGV[5], ARGV[6] .. ' ' .. ARGV[7], ARGV[8])
redis.call('PUBLISH', prefix .. 'announce', ARGV[9])
return { 'done' }
`;

/**
 * Puts a publication in the place of the current one with the same Date, which nobody can read.
 *
 * Arguments: prefix, state name, suite, the digest of the other one, order, state.
 */
export const replaceScript = `
local key = ARGV[1] .. 'current:' .. ARGV[2]
local known = redis.call('HGET', key, ARGV[3])
if not known or not string.find(known, ARGV[4], 1, true) then return 0 end
redis.call('HSET', key, ARGV[3], ARGV[5] .. ' ' .. ARGV[6])
redis.call('HSET', ARGV[1] .. 'kept:' .. ARGV[2], ARGV[3] .. ' ' .. ARGV[5], ARGV[6])
return 1
`;

/**
 * Makes a publication that was current before the current one again, unless Valkey knows a later one.
 *
 * Arguments: prefix, state name, suite, order, state, message.
 */
export const offerScript = `
local prefix = ARGV[1]
local known = redis.call('HGET', prefix .. 'current:' .. ARGV[2], ARGV[3])
if known and tonumber(string.match(known, '^%d+')) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', prefix .. 'current:' .. ARGV[2], ARGV[3], ARGV[4] .. ' ' .. ARGV[5])
redis.call('HSET', prefix .. 'kept:' .. ARGV[2], ARGV[3] .. ' ' .. ARGV[4], ARGV[5])
redis.call('PUBLISH', prefix .. 'announce', ARGV[6])
return 1
`;

/**
 * Stores a command about a pin or a rollback. A new one is later than all others; another one counts only if it is
 * later than what is known.
 *
 * Arguments: the field, "new" or "known", its order or, of a new one, the least order that it may have, the command.
 *
 * Reply: the order of the command that counts.
 */
export const commandScript = `${now}
local known = redis.call('HGET', KEYS[1], ARGV[1])
local last = tonumber(known and string.match(known, '^%d+')) or 0
local order = tonumber(ARGV[3])
if ARGV[2] == 'new' then
  order = math.max(order, now, last + 1)
elseif order <= last then
  return string.format('%.0f', last)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', order) .. ARGV[4])
return string.format('%.0f', order)
`;

/**
 * Notes a ping and tells all replicas of it, unless too many wait already.
 *
 * Keys: the notes. Arguments: the id of the ping, the note, how many may wait, the channel.
 *
 * Reply: 1, or 0 if too many wait.
 */
export const noteScript = `
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], ARGV[2])
return 1
`;

/** Keeps values for another while. Arguments: the time in ms. Reply: the numbers of the keys without a value. */
export const renewScript = `
local missing = {}
for index, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, ARGV[1]) == 0 then missing[#missing + 1] = index end
end
return missing
`;

/** Splits a value that begins with a number: "ORDER JSON" and the like. */
export function parted(text: string): readonly [number: string, rest: string] {
  const at = text.indexOf(" ");
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Gives a lease back. Arguments: prefix, id, the repositories. */
export const releaseScript = `
for index = 3, #ARGV do
  local lease = ARGV[1] .. 'lease:' .. ARGV[index]
  if redis.call('GET', lease) == ARGV[2] then redis.call('DEL', lease) end
end
`;

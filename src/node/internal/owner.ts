/** Owner and group of socket files, by name or number. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { InvalidValue } from "../../InvalidValue.ts"
import { ListenError } from "../../MilterServer.ts"
import { attempt } from "./listenError.ts"

// Node knows no getpwnam. Names from other sources than these files (LDAP) must be given as numbers; MTAs are local users.
const databases = { owner: "/etc/passwd", group: "/etc/group" } as const

/** The number of a user or group; without one -1, with which the system changes nothing. */
export const numberOf = Effect.fnUntraced(function*(
  address: string,
  what: "owner" | "group",
  value: string | number | undefined
): Effect.fn.Return<number, ListenError> {
  if (value === undefined) return -1
  if (/^\d{1,10}$/.test(String(value))) return Number(value)
  const database = databases[what]
  const lines = yield* attempt(address, () => Fs.readFileSync(database, "utf8").split("\n"))
  const id = lines.map((line) => line.split(":")).find(([name]) => name === value)?.[2]
  if (id !== undefined) return Number(id)
  const cause = new InvalidValue({ what, value: String(value), reason: `expected a number or a name of ${database}` })
  return yield* new ListenError({ address, reason: "UnknownOwner", cause })
})

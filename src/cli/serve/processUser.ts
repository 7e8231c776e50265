/** Gives up the rights of root. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as exit from "../trouble/exit.ts"

export interface ProcessUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** The line of `/etc/passwd` or `/etc/group` with a name or number, in its fields. */
const lineOf = (database: string, value: string): ReadonlyArray<string> | undefined =>
  Fs.readFileSync(database, "utf8").split("\n").map((line) => line.split(":"))
    .find(([name, , id]) => name === value || (id === value && /^\d+$/.test(value)))

/** Looks up `NAME` or `NAME:GROUP`. */
export const find = (spec: string): Effect.Effect<ProcessUser, exit.Trouble> =>
  Effect.suspend(() => {
    const [user = "", group] = spec.split(":")
    if (process.geteuid?.() !== 0) {
      return exit.trouble(`--user ${spec}: only root can become another user; start as root, or leave the option out`)
    }
    const found = lineOf("/etc/passwd", user)
    if (found === undefined) return exit.trouble(`--user ${spec}: there is no user ${user} in /etc/passwd`)
    const itsGroup = group === undefined ? undefined : lineOf("/etc/group", group)
    if (group !== undefined && itsGroup === undefined) {
      return exit.trouble(`--user ${spec}: there is no group ${group} in /etc/group`)
    }
    return Effect.succeed({ name: found[0]!, uid: Number(found[2]), gid: Number(itsGroup?.[2] ?? found[3]) })
  })

/** Missing from the types of Node. */
const setGroups = (name: string, gid: number): void =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  (process as unknown as { readonly initgroups: (user: string, group: number) => void }).initgroups(name, gid)

/** Becomes the user for good, with the groups that it belongs to. */
export const become = ({ gid, name, uid }: ProcessUser): Effect.Effect<void> =>
  Effect.sync(() => {
    setGroups(name, gid)
    process.setgid?.(gid)
    process.setuid?.(uid)
  })

/** Checks the permissions of files that hold a private key. */
import type { File } from "effect/FileSystem"
import * as Option from "effect/Option"

const readableByGroup = 0o040
const readableByOthers = 0o004

const groups = (): ReadonlySet<number> => new Set([process.getegid?.() ?? -1, ...process.getgroups?.() ?? []])

/** What is wrong with the permissions of a key's file, and what to do; undefined if only its owner and we can read it. */
export const exposure = ({ gid, mode }: File.Info): string | undefined => {
  if (process.platform === "win32") return undefined
  if ((mode & readableByOthers) !== 0) {
    return "is readable by every user of the system: take that away (chmod o-r), and publish a new key if users are not trusted"
  }
  if ((mode & readableByGroup) === 0 || Option.match(gid, { onNone: () => true, onSome: (id) => groups().has(id) })) {
    return undefined
  }
  return "is readable by a group that this process is not in: take that away (chmod g-r)"
}

/** Says why a UNIX socket cannot be connected to, where the system's own words do not help. */
import * as Fs from "node:fs"
import * as Path from "node:path"

/** Where the chroot of Postfix's smtpd is, unless its queue directory has been moved. */
const chroot = "/var/spool/postfix"

/** An error with the code of the system's, and words of our own. */
const worded = (error: NodeJS.ErrnoException, message: string): Error =>
  Object.assign(new Error(message, { cause: error }), { code: error.code })

/** The name of a group, or its number. */
const groupName = (id: number): string => {
  try {
    const line = Fs.readFileSync("/etc/group", "utf8").split("\n").map((line) => line.split(":"))
      .find(([, , number]) => number === String(id))
    return line?.[0] ?? String(id)
  } catch {
    return String(id)
  }
}

const statOf = (path: string): Fs.Stats | undefined => {
  try {
    return Fs.statSync(path)
  } catch {
    return undefined
  }
}

/** The socket, or the directory in its path that keeps this process out of what is below. */
const obstacle = (path: string): { readonly path: string; readonly stat: Fs.Stats } | undefined => {
  for (let at = path;; at = Path.dirname(at)) {
    const stat = statOf(at)
    if (stat !== undefined) return { path: at, stat }
    if (at === Path.dirname(at)) return undefined
  }
}

const noPermission = (path: string, error: NodeJS.ErrnoException): Error => {
  const found = obstacle(path)
  if (found === undefined) return error
  const { gid, mode } = found.stat
  const group = groupName(gid)
  const isSocket = found.path === path
  const what = isSocket ? `${path}, which` : `${path}: the directory ${found.path}`
  const lets = (mode & (isSocket ? 0o020 : 0o010)) !== 0
  return worded(
    error,
    `no permission to connect to ${what} belongs to the group ${group}: add the user of this process to it${
      lets ? "" : `, and give the group permission (the mode is ${(mode & 0o777).toString(8)})`
    }`
  )
}

/** The error of a connection to the socket at this path. */
export const dialError = (path: string, error: NodeJS.ErrnoException, root = chroot): Error => {
  if (error.code === "EACCES" || error.code === "EPERM") return noPermission(path, error)
  if (error.code !== "ENOENT") return error
  const inside = Path.join(root, path)
  return worded(
    error,
    statOf(inside) === undefined
      ? `there is no socket at ${path}`
      : `there is no socket at ${path}, but one at ${inside}: that path is what Postfix's smtpd sees in its chroot, and ` +
        "this process is outside of it"
  )
}

/** Sockets that the process was started with: systemd's protocol (sd_listen_fds), and what the kernel tells about them. */
import * as Fs from "node:fs"

/** The first of the passed descriptors, after stdin, stdout and stderr. */
const first = 3

/** The descriptors that systemd passed to this process, of this name if one is given. */
export const fromSystemd = (name: string | undefined): ReadonlyArray<number> => {
  const { LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID } = process.env
  // The variables are inherited by processes that the descriptors were not meant for.
  if (LISTEN_PID !== String(process.pid)) return []
  const names = LISTEN_FDNAMES?.split(":") ?? []
  return Array.from({ length: Number(LISTEN_FDS) || 0 }, (_, index) => first + index)
    .filter((_, index) => name === undefined || names[index] === name)
}

/** The inode of a socket; only on Linux. */
const inodeOf = (descriptor: number): string | undefined => {
  try {
    return /^socket:\[(\d+)\]$/.exec(Fs.readlinkSync(`/proc/self/fd/${descriptor}`))?.[1]
  } catch {
    return undefined
  }
}

export const isSocket = (descriptor: number): boolean => {
  try {
    return Fs.fstatSync(descriptor).isSocket()
  } catch {
    // Deno does not look at a descriptor that it has not opened itself.
    return inodeOf(descriptor) !== undefined
  }
}

// A server closes its descriptor, and the number may soon be that of something else.
const taken = new Set<number>()

/** Whether nobody in this process has used the descriptor before; it is used from now on. */
export const take = (descriptor: number): boolean => {
  if (taken.has(descriptor)) return false
  taken.add(descriptor)
  return true
}

/** The path of a UNIX socket, which Node does not tell of one it has not bound itself; only on Linux. */
export const pathOf = (descriptor: number): string | undefined => {
  try {
    const inode = inodeOf(descriptor)
    // Num RefCount Protocol Flags Type St Inode Path
    return Fs.readFileSync("/proc/net/unix", "utf8").split("\n")
      .map((line) => /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (.+)$/.exec(line))
      .find((match) => match?.[1] === inode)?.[2]
  } catch {
    return undefined
  }
}

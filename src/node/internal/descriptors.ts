/** File descriptors of the process, and when they run out. */
import * as Fs from "node:fs"
import type * as Net from "node:net"

/** The descriptor number from which on the process runs out of descriptors; infinity if the system does not tell its limit. */
export const scarce = (): number => {
  try {
    // At its start Node raises the limit as far as allowed (LimitNOFILE=, ulimit -Hn).
    const [, limit] = /^Max open files +(\d+)/m.exec(Fs.readFileSync("/proc/self/limits", "latin1")) ?? []
    return limit === undefined ? Infinity : Math.ceil(Number(limit) * 0.95)
  } catch {
    return Infinity
  }
}

/** The descriptor of a socket that was just accepted. All lower numbers are in use, since the system gives the lowest free one. */
export const of = (socket: Net.Socket): number =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node has it and does not say; without it nothing is noticed
  (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1

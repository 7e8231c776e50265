import * as Fs from "node:fs"
import type * as Net from "node:net"

/** From which number on the descriptors of the process run out; never where the system does not tell. */
export const scarce = (): number => {
  try {
    // Node has raised its limit as far as it may (LimitNOFILE=, ulimit -Hn) when it started.
    const [, limit] = /^Max open files +(\d+)/m.exec(Fs.readFileSync("/proc/self/limits", "latin1")) ?? []
    return limit === undefined ? Infinity : Math.ceil(Number(limit) * 0.95)
  } catch {
    return Infinity
  }
}

/** The descriptor of a socket that has just been accepted: all below were in use, for the system gives the lowest. */
export const of = (socket: Net.Socket): number =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Node has it and does not say; without it nothing is noticed
  (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1

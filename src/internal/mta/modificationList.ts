/** The modifications that a filter sends for one message: kept in order, up to a limit. */
import type { ModificationPacket } from "../wire/filterPackets.ts"
import type { ClientErrorReason } from "./clientError.ts"

/** The most that is kept for one message. */
export interface ModificationLimits {
  /** Without the pieces of a new body. */
  readonly modifications: number
  readonly bytes: number
}

export const limitsOf = (options: {
  readonly maxModifications?: number
  readonly maxModificationBytes?: number
}): ModificationLimits => ({
  modifications: options.maxModifications ?? 10_000,
  bytes: options.maxModificationBytes ?? 64 * 1024 * 1024
})

/** What a packet costs in memory in addition to its strings and bytes: a filter can send millions of empty ones. */
const perPacket = 256

const sizeOf = (packet: ModificationPacket): number => {
  let size = perPacket
  for (const [key, value] of Object.entries(packet)) {
    if (key !== "_tag" && (typeof value === "string" || value instanceof Uint8Array)) size += value.length
  }
  return size
}

export class ModificationList {
  readonly packets: Array<ModificationPacket> = []
  private readonly limits: ModificationLimits
  private counted = 0
  private bytes = 0

  constructor(limits: ModificationLimits) {
    this.limits = limits
  }

  /** Keeps the packet, or gives the error for the limit that it exceeds. */
  add(packet: ModificationPacket): ClientErrorReason | undefined {
    const { bytes, modifications } = this.limits
    this.bytes += sizeOf(packet)
    if (packet._tag !== "ReplaceBody") this.counted++
    if (this.counted > modifications) {
      return { _tag: "TooManyModifications", limit: modifications, unit: "modifications" }
    }
    if (this.bytes > bytes) return { _tag: "TooManyModifications", limit: bytes, unit: "bytes" }
    this.packets.push(packet)
    return undefined
  }
}

/** Writes packets into memory. Re-exported by `Wire`. */
import type { ByteString } from "../bytes/byteString.ts"
import * as latin1 from "../bytes/latin1.ts"

const noBytes = new Uint8Array(0)

const slabSize = 16384

// Writers take their memory from one slab and return it with `take`, so that an idle connection holds no memory and small
// packets need no allocation of their own. The part of the slab that `take` returned is not written again.
let spare: Uint8Array | undefined = undefined
let spareOffset = 0

/**
 * Collects packets, so that several go out in one write.
 *
 * A writer holds memory only while it has bytes that {@link Writer.take} has not returned.
 *
 * **Example** (Packets of a slab)
 *
 * ```ts
 * import * as Packet from "effect-milter/Packet"
 * import { ByteString, Writer } from "effect-milter/Wire"
 *
 * const writer = new Writer()
 * Packet.write(writer, { _tag: "Quarantine", reason: ByteString.fromText("looks odd") })
 * Packet.write(writer, { _tag: "Accept" })
 * const bytes = writer.take() // both packets
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export class Writer {
  private bytes: Uint8Array = noBytes
  private start = 0
  private offset = 0

  /** How many bytes the next {@link take} will return. */
  get pending(): number {
    return this.offset - this.start
  }

  /**
   * Everything written since the last call. It is a view into memory that this library does not write again; like a
   * pooled Node Buffer it may share its `buffer` with others.
   */
  take(): Uint8Array {
    const { bytes, offset, start } = this
    if (offset === start) return noBytes
    this.release(offset)
    this.bytes = noBytes
    this.start = this.offset = 0
    return bytes.subarray(start, offset)
  }

  /** Begins a packet; its length field is written by {@link end}, to which the result must be given. */
  begin(code: number): number {
    this.reserve(5)
    const mark = this.offset - this.start
    this.bytes[this.offset + 4] = code
    this.offset += 5
    return mark
  }

  /** Ends the packet that {@link begin} began. */
  end(mark: number): void {
    const at = this.start + mark
    this.put32(at, this.offset - at - 4)
  }

  /** One byte. */
  u8(value: number): void {
    this.reserve(1)
    this.bytes[this.offset++] = value
  }

  /** Two bytes, the higher first. */
  u16(value: number): void {
    this.reserve(2)
    this.bytes[this.offset] = value >>> 8
    this.bytes[this.offset + 1] = value
    this.offset += 2
  }

  /** Four bytes, the highest first. */
  u32(value: number): void {
    this.reserve(4)
    this.put32(this.offset, value)
    this.offset += 4
  }

  /** The bytes of the string and a NUL. */
  text(value: ByteString): void {
    this.reserve(value.length + 1)
    const end = latin1.write(this.bytes, value, this.offset)
    this.bytes[end] = 0
    this.offset = end + 1
  }

  /** These bytes, copied. */
  raw(value: Uint8Array): void {
    this.reserve(value.length)
    this.bytes.set(value, this.offset)
    this.offset += value.length
  }

  /** Returns the slab, if there is one and enough of it is free after `offset`. */
  private release(offset: number): void {
    if (this.bytes.length !== slabSize || offset + 256 > slabSize) return
    spare = this.bytes
    spareOffset = offset
  }

  private put32(at: number, value: number): void {
    const bytes = this.bytes
    bytes[at] = value >>> 24
    bytes[at + 1] = value >>> 16
    bytes[at + 2] = value >>> 8
    bytes[at + 3] = value
  }

  private reserve(count: number): void {
    const { bytes, offset, start } = this
    if (offset + count <= bytes.length) return
    const pending = offset - start
    if (pending === 0 && spare !== undefined && spareOffset + count <= slabSize) {
      this.bytes = spare
      this.start = this.offset = spareOffset
      spare = undefined
      return
    }
    const needed = pending + count
    // Small output begins in a slab. Bigger output gets the size that it needs, or twice its present size, so that many packets
    // in a row are not copied again for each packet.
    const next = new Uint8Array(needed <= slabSize ? slabSize : Math.max(needed, 2 * pending))
    next.set(bytes.subarray(start, offset))
    this.release(start)
    this.bytes = next
    this.start = 0
    this.offset = pending
  }
}

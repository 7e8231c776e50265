/** The conversations between MTAs and filters in a capture: which TCP connections they are, and their frames. Pure. */
import * as Frame from "../../Frame.ts"
import * as Packet from "../../Packet.ts"
import type { Side } from "../trace/relay.ts"
import type { Segment } from "./segment.ts"
import { TcpStream } from "./tcpStream.ts"

/** What a conversation is told of. */
export interface Listener {
  readonly opened: (connection: number, mta: string, filter: string) => void
  readonly frame: (connection: number, from: Side, frame: Frame.Frame) => void
  readonly junk: (connection: number, from: Side, bytes: Uint8Array) => void
  readonly closed: (connection: number, by: Side, isReset: boolean) => void
  readonly gap: (connection: number, from: Side) => void
}

interface Direction {
  readonly stream: TcpStream
  readonly decoder: Frame.Decoder
  isFramed: boolean
  received: number
  isGapTold: boolean
}

interface Conversation {
  /** The address of the side that has connected; undefined until it is known. */
  mta: string | undefined
  /** 0 until it is known to be one of a milter. */
  number: number
  isOther: boolean
  isClosed: boolean
  readonly directions: Map<string, Direction>
}

const newDirection = (): Direction => ({
  stream: new TcpStream(),
  decoder: Frame.makeDecoder(),
  isFramed: true,
  received: 0,
  isGapTold: false
})

/** The beginning of an MTA's negotiation: 13 bytes, the letter O, a version. */
const isNegotiation = (bytes: Buffer): boolean =>
  bytes.length >= 9 && bytes.readUInt32BE(0) === 13 && bytes[4] === Packet.Negotiate.code &&
  bytes.readUInt32BE(5) <= 255

// A capture of a busy host has many connections; those that are over are forgotten.
const mostOpen = 20_000

export class Conversations {
  private readonly port: number | undefined
  private readonly listener: Listener
  private readonly open = new Map<string, Conversation>()
  private numbers = 0
  private _others = 0

  /** `port`: that of the filter; without one, conversations are known by their beginning. */
  constructor(port: number | undefined, listener: Listener) {
    this.port = port
    this.listener = listener
  }

  /** The conversations with filters. */
  get count(): number {
    return this.numbers
  }

  /** The other TCP connections. */
  get others(): number {
    return this._others
  }

  push(segment: Segment): void {
    const { from, fromPort, isAck, isSyn, sequence, to, toPort } = segment
    if (this.port !== undefined && fromPort !== this.port && toPort !== this.port) return
    const key = from < to ? `${from} ${to}` : `${to} ${from}`
    let conversation = this.open.get(key)
    if (conversation === undefined || (isSyn && !isAck && conversation.isClosed)) {
      conversation = { mta: undefined, number: 0, isOther: false, isClosed: false, directions: new Map() }
      if (this.open.size >= mostOpen) this.open.delete(this.open.keys().next().value!)
      this.open.set(key, conversation)
    }
    if (isSyn && !isAck) conversation.mta = from
    else if (isSyn) conversation.mta = to
    else if (this.port !== undefined) conversation.mta ??= toPort === this.port ? from : to
    let direction = conversation.directions.get(from)
    if (direction === undefined) {
      direction = newDirection()
      conversation.directions.set(from, direction)
    }
    if (isSyn) return direction.stream.begin(sequence)
    this.data(conversation, direction, segment)
    if ((segment.isFin || segment.isReset) && !conversation.isClosed) {
      conversation.isClosed = true
      if (conversation.number > 0) {
        this.listener.closed(conversation.number, sideOf(conversation, from), segment.isReset)
      }
    }
  }

  private data(conversation: Conversation, direction: Direction, { from, payload, sequence, to }: Segment): void {
    if (conversation.isOther) return
    const chunks = direction.stream.push(sequence, payload)
    const [first] = chunks
    if (conversation.number === 0 && first !== undefined) {
      if (this.port === undefined && !isNegotiation(first)) {
        conversation.isOther = true
        this._others++
        return
      }
      conversation.mta ??= from
      conversation.number = ++this.numbers
      const { mta } = conversation
      this.listener.opened(conversation.number, mta, mta === from ? to : from)
    }
    const side = sideOf(conversation, from)
    for (const chunk of chunks) this.decode(conversation.number, side, direction, chunk)
    if (direction.stream.hasGap && conversation.number > 0) this.tellGap(conversation.number, side, direction)
  }

  private decode(connection: number, side: Side, direction: Direction, chunk: Buffer): void {
    if (!direction.isFramed) return this.listener.junk(connection, side, chunk)
    const frames: Array<Frame.Frame> = []
    const error = direction.decoder.push(chunk, frames)
    for (const frame of frames) this.listener.frame(connection, side, frame)
    if (error !== undefined) {
      direction.isFramed = false
      this.listener.junk(connection, side, chunk.subarray(Math.max(0, error.offset - direction.received)))
    }
    direction.received += chunk.length
  }

  private tellGap(connection: number, side: Side, direction: Direction): void {
    if (!direction.isGapTold) this.listener.gap(connection, side)
    direction.isGapTold = true
  }

  /** The capture is over: what still waits for a segment will not get it. */
  end(): void {
    for (const conversation of this.open.values()) {
      if (conversation.number === 0) continue
      for (const [from, direction] of conversation.directions) {
        if (direction.stream.isWaiting) this.tellGap(conversation.number, sideOf(conversation, from), direction)
      }
    }
  }
}

const sideOf = ({ mta }: Conversation, from: string): Side => from === mta ? "mta" : "filter"

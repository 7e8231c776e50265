/** One connection of the load driver: what an MTA sends, step by step, each answered before the next. */
import * as Frame from "effect-milter/Frame"
import * as Net from "node:net"
import { abort, join, opening, quit } from "../packets.ts"
import { type Address, place } from "./processes.ts"

const modifications = new Set(Array.from("himb+2-eqp", (letter) => letter.charCodeAt(0)))
const farewell = join(abort, abort, quit)

/** A message as `makeMessage` makes it, and how it begins if there was one before it. */
export interface Message {
  readonly first: ReadonlyArray<Uint8Array>
  readonly later: ReadonlyArray<Uint8Array>
}

/** Both forms of a message. */
export const forms = (steps: ReadonlyArray<Uint8Array>): Message => ({
  first: steps,
  later: [join(abort, steps[0]!), ...steps.slice(1)]
})

let answered = 0

/** When any server last sent anything, in milliseconds of `performance.now`. */
export const lastAnswer = (): number => answered

/** Resolves when everything sent so far has been answered; rejects if the server closes the connection before. */
export class Connection {
  private readonly socket: Net.Socket
  private readonly closed: Promise<void>
  private messages = 0
  private steps: ReadonlyArray<Uint8Array> = []
  private step = 0
  private done: (() => void) | undefined
  private failed: ((error: Error) => void) | undefined

  constructor(address: Address) {
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    this.socket = Net.connect({ ...place(address), noDelay: true })
    this.socket.on("data", (chunk) => {
      answered = performance.now()
      decoder.push(chunk, frames)
      for (const frame of frames) {
        if (!modifications.has(frame.code)) this.advance()
      }
      frames.length = 0
    })
    this.closed = new Promise((resolve) => this.socket.once("close", () => resolve()))
    this.socket.on("error", (error) => this.failed?.(error))
    this.socket.on("close", () => this.failed?.(new Error("the server closed the connection")))
  }

  private advance(): void {
    if (this.step < this.steps.length) {
      this.socket.write(this.steps[this.step++]!)
      return
    }
    const { done } = this
    this.done = this.failed = undefined
    done?.()
  }

  /** Sends each of the steps when the one before it has been answered. */
  play(steps: ReadonlyArray<Uint8Array>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.steps = steps
      this.step = 0
      this.done = resolve
      this.failed = reject
      this.advance()
    })
  }

  open(): Promise<void> {
    return this.play(opening)
  }

  message(message: Message): Promise<void> {
    return this.play(this.messages++ === 0 ? message.first : message.later)
  }

  /** Everything of a message but its end. */
  begin(message: Message): Promise<void> {
    return this.play((this.messages++ === 0 ? message.first : message.later).slice(0, -1))
  }

  /** Resolves when the server has closed it. */
  close(): Promise<void> {
    this.socket.end(farewell)
    return this.closed
  }
}

/** The MTA of the session benchmark: connections over a UNIX socket, each with its messages one after the other. */
import * as Frame from "effect-milter/Frame"
import * as Net from "node:net"
import { abort, join, message, opening, quit } from "./packets.ts"

const modifications = new Set(Array.from("himb+2-eqp", (letter) => letter.charCodeAt(0)))

/** One connection with this many messages; resolves when the server has closed it. */
const connection = (path: string, messages: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const steps = [...opening]
    for (let index = 0; index < messages; index++) {
      steps.push(index === 0 ? message[0]! : join(abort, message[0]!), ...message.slice(1))
    }
    const socket = Net.connect({ path, noDelay: true })
    const decoder = Frame.makeDecoder()
    const frames: Array<Frame.Frame> = []
    let step = 0
    socket.on("connect", () => socket.write(steps[step++]!))
    socket.on("data", (chunk) => {
      decoder.push(chunk, frames)
      for (const frame of frames.splice(0)) {
        if (modifications.has(frame.code)) continue
        if (step < steps.length) socket.write(steps[step++]!)
        else if (step++ === steps.length) socket.end(join(abort, abort, quit))
      }
    })
    socket.on("error", reject)
    socket.on("close", () => step > steps.length ? resolve() : reject(new Error(`closed at step ${step}`)))
  })

/** Messages per second over `connections` at a time. */
export const run = async (
  path: string,
  options: { readonly messages: number; readonly perConnection: number; readonly connections: number }
): Promise<number> => {
  let left = options.messages
  const started = performance.now()
  await Promise.all(Array.from({ length: options.connections }, async () => {
    while (left > 0) {
      left -= options.perConnection
      await connection(path, options.perConnection)
    }
  }))
  return options.messages / ((performance.now() - started) / 1000)
}

/** A name server that has one answer to all questions. */
import * as Effect from "effect/Effect"
import { createSocket } from "node:dgram"

/** Serves on a port of its own: the header of the question, its flags, and the record. */
export const serve = (flags: number, record: Uint8Array) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const socket = createSocket("udp4")
      socket.on("message", (query, { port }) => {
        const answer = Buffer.concat([query, record])
        answer.writeUInt16BE(flags, 2)
        answer.writeUInt16BE(record.length === 0 ? 0 : 1, 6)
        // Additional records of the question are not repeated.
        const end = query.indexOf(0, 12) + 5
        const bare = Buffer.concat([answer.subarray(0, end), record])
        bare.writeUInt16BE(0, 10)
        socket.send(bare, port, "127.0.0.1")
      })
      socket.bind(0, "127.0.0.1", () =>
        resume(Effect.succeed({
          port: socket.address().port,
          close: () => socket.close()
        })))
    }),
    ({ close }) => Effect.sync(close)
  )

/** A TXT record of these strings, as it stands in an answer. */
export const txt = (...strings: ReadonlyArray<string>): Uint8Array => {
  const data = strings.map((text) => `${String.fromCharCode(text.length)}${text}`).join("")
  // A pointer to the name of the question, TXT, IN, a minute, the length.
  return Buffer.concat([
    Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, data.length]),
    Buffer.from(data, "latin1")
  ])
}

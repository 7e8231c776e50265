/** SMTP servers of the package smtp-server in tests, and what they deliver. */
import { NodeSmtpServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import type { AddressInfo } from "node:net"
import { SMTPServer, type SMTPServerOptions } from "smtp-server"

/** A message that was delivered, read as a whole. */
export interface Delivered extends Omit<NodeSmtpServer.Mail, "message"> {
  readonly bytes: Uint8Array
  readonly text: string
}

/** A list, and the function that delivers into it. */
export const collector = () => {
  const delivered: Array<Delivered> = []
  const deliver = (mail: NodeSmtpServer.Mail): Effect.Effect<void> =>
    Effect.map(NodeSmtpServer.toBytes(mail), (bytes) => {
      const { message: _, ...rest } = mail
      delivered.push({ ...rest, bytes, text: Buffer.from(bytes).toString("latin1") })
    })
  return { deliver, delivered }
}

/** Listens on a free port until the scope closes. */
export const listen = (hooks: NodeSmtpServer.Hooks, options: SMTPServerOptions = {}) =>
  Effect.acquireRelease(
    Effect.callback<SMTPServer>((resume) => {
      const server = new SMTPServer({
        authOptional: true,
        disabledCommands: ["STARTTLS"],
        // The end of a test does not wait for a client that stays.
        closeTimeout: 100,
        ...options,
        ...hooks
      })
      server.on("error", () => undefined) // a client that disconnects
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => server.close(() => resume(Effect.void)))
  ).pipe(Effect.map(({ server }) => (server.address() as AddressInfo).port)) // it listens on TCP

/** An SMTP server in Node (the package smtp-server) that asks milters about each session, and delivers what they let pass. */
import { NodeSmtpServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import type { AddressInfo } from "node:net"
import { SMTPServer } from "smtp-server"

/** Listens on the port until the scope closes, and returns the port: another one if it was 0. */
export const listen = <E, R>(
  port: number,
  filters: ReadonlyArray<string>,
  deliver: (mail: NodeSmtpServer.Mail) => Effect.Effect<void, E, R>
) =>
  Effect.gen(function*() {
    const hooks = yield* NodeSmtpServer.hooks(filters, deliver)
    const server = yield* Effect.acquireRelease(
      Effect.callback<SMTPServer, Error>((resume) => {
        const server = new SMTPServer({ authOptional: true, disabledCommands: ["AUTH", "STARTTLS"], ...hooks })
        server.once("error", (error) => resume(Effect.fail(error)))
        server.listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.callback<void>((resume) => server.close(() => resume(Effect.void)))
    )
    return (server.server.address() as AddressInfo).port // it listens on TCP
  })

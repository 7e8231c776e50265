/**
 * An SMTP server in Node (the package smtp-server) that asks milters about each session, and hands on what they let pass:
 * signed, if one of them is opendkim. Here it is printed; a real server would send it on.
 *
 * npx node -C effect-milter-source examples/smtp_server/smtpServer.ts 2525 unix:/run/opendkim/opendkim.sock inet:11332@127.0.0.1
 */
import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { SMTPServer } from "smtp-server"
import * as command from "../support/command.ts"

/** Listens on the port until the scope closes; gives the port. */
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

const main = Effect.gen(function*() {
  const [, , port = "2525", ...filters] = process.argv
  yield* listen(
    yield* command.portOf(port),
    filters,
    ({ message, recipients, sender }) =>
      Console.log(`from <${sender}> to ${recipients.join(", ")}\n\n${new TextDecoder().decode(message)}`)
  )
  yield* Console.log(`port ${port} asks ${filters.join(" and ") || "nobody"}`)
  return yield* Effect.never
})

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  command.runProgram("smtpServer", main.pipe(Effect.scoped, Effect.provide(NodeMilterClient.layer)))
}

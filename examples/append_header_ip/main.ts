import * as Header from "effect-milter/Header"
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Result from "effect/Result"
import * as command from "../support/command.ts"
import { appendHeaderIp, defaultName } from "./filter.ts"

command.run({
  name: "append_header_ip",
  description: "Adds the IP address of the SMTP client to each message, as a header field",
  options: {
    headername: Flag.String("headername").pipe(
      Flag.withDefault(defaultName),
      Flag.filter(
        (name) => Result.isSuccess(Header.checkName(name)),
        () => "printable ASCII characters without space and colon"
      ),
      Flag.withMetavar("NAME"),
      Flag.withDescription(`The name of the field (${defaultName})`)
    )
  },
  serve: ({ headername }) => MilterServer.layerConfig(appendHeaderIp(headername))
})

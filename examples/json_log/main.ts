/** The command: serves the filter with the header fields to log and the file to write to. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Header from "effect-milter/Header"
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as command from "../support/command.ts"
import { jsonLog } from "./filter.ts"
import * as Sink from "./sink.ts"

command.run({
  name: "json_log",
  description: "Writes a line of JSON about each message, and leaves the mail as it is",
  options: {
    file: Flag.String("file").pipe(
      Flag.filter((path) => path !== "", () => "a path"),
      Flag.withMetavar("PATH"),
      Flag.withDescription("The file to append to; standard output if not given"),
      Flag.optional
    ),
    headers: Flag.String("headers").pipe(
      Flag.withDefault("From,Subject,Message-ID"),
      Flag.map((list) => list.split(",").map((name) => name.trim()).filter((name) => name !== "")),
      Flag.filter(
        (names) => names.every((name) => Result.isSuccess(Header.checkName(name))),
        () => "names of header fields such as From,Subject"
      ),
      Flag.withMetavar("NAME,NAME"),
      Flag.withDescription("The header fields to log (From,Subject,Message-ID)")
    )
  },
  serve: ({ file, headers }) =>
    MilterServer.layerConfig(jsonLog({ headers })).pipe(
      Layer.provide(Option.match(file, { onNone: () => Sink.layerStdout, onSome: Sink.layerFile })),
      Layer.provide(NodeFileSystem.layer)
    )
})

/** The command: serves the filter with the kinds of files of its flags. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as command from "../support/command.ts"
import { attachmentPolicy } from "./filter.ts"

const defaultExtensions = "exe,com,scr,pif,bat,cmd,vbs,js,jse,wsf,hta,lnk,jar,msi,iso,img"

command.run({
  name: "attachment_policy",
  description: "Takes files of some kinds out of messages, or refuses messages that have them",
  options: {
    extensions: Flag.String("extensions").pipe(
      Flag.withDefault(defaultExtensions),
      Flag.filterMap((list) => {
        const extensions = list.toLowerCase().split(/[\s,]+/).filter((one) => one !== "")
        return extensions.length > 0 && extensions.every((one) => /^[a-z0-9_-]+$/.test(one))
          ? Option.some(new Set(extensions))
          : Option.none()
      }, () => "extensions such as exe,js"),
      Flag.withMetavar("EXT,EXT"),
      Flag.withDescription(`The kinds of files that are not accepted (${defaultExtensions})`)
    ),
    action: Flag.Literals("action", ["remove", "reject"]).pipe(
      Flag.withDefault("remove"),
      Flag.withDescription("remove: a note takes the place of the file; reject: the message is refused (remove)")
    ),
    otherwise: Flag.Literals("otherwise", ["reject", "pass"]).pipe(
      Flag.withDefault("reject"),
      Flag.withDescription("What happens in signed mail and in messages that are not understood to their end (reject)")
    )
  },
  serve: ({ action, extensions, otherwise }) =>
    MilterServer.layerConfig(attachmentPolicy({ action, extensions, otherwise }))
})

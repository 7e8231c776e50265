/**
 * Everything that needs Node.
 *
 * @since 0.1.0
 */

/**
 * Connecting to milters over TCP and UNIX sockets.
 *
 * @since 0.1.0
 */
export * as NodeMilterClient from "./NodeMilterClient.ts"

/**
 * Listening on TCP and UNIX sockets.
 *
 * @since 0.1.0
 */
export * as NodeMilterServer from "./NodeMilterServer.ts"

/**
 * Milters in an SMTP server written for Node.
 *
 * @since 0.1.0
 */
export * as NodeSmtpServer from "./NodeSmtpServer.ts"

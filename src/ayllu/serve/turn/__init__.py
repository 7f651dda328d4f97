"""One answer of a chat model, for every route that holds conversations: from what was asked to text and calls.

`Turn` (`asked`) is what a client asks for, in our words. `prepare` makes ids and a grammar of it. `Answer` (`answer`)
runs it on the engine and gives `Words`, calls and the `End` as they come (`events`).
"""

"""The web: pages and API over `gitdags.catalog`, read only but for stamps and webhooks.

`app` has every URL in one table; `access` says who may; handlers in `api` and `pages` ask the catalog
and render. What takes long and needs no repository (layout, highlighting) is done by `renderer` in a
process of its own, with a deadline. The web keeps no state of its own that it could not lose.
"""

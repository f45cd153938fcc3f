# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a private broker, runners, a client as strict as the ancestor's server."""

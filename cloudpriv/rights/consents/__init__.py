"""Consents: what is asked, the acts that give and withdraw it, their history, and the mails and links of them."""

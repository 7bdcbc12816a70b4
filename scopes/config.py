from instances.config import queue_settings
from dataclasses import asdict
def effective_settings(scope, config):
    return {"offer_seconds": 900, "accept": "auto", "unmatched": "hold", "orchestration_threshold": 3, "on_failure":"fail", **asdict(queue_settings(scope, config)), **config}
def config_digest(situation):
    return "stub"

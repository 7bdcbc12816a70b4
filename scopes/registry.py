from scopes.decisions import *
class Stub:
    def decide(self, s):
        t=s.task
        run=[c for c in s.candidates if c.effective_status=="running" and not c.barred]
        if s.instance.scope=="GLOBAL":
            m=[c for c in s.candidates if t.project in (c.id,c.name) or set(t.tags)&c.capabilities]
            m2=[c for c in m if c in run]
            if not m: return Stay(("nothing matches",), code="AwaitingTriage")
            if not m2: return Refuse(("all refused",), code="Unroutable")
            c=min(m2,key=lambda c:(c.open_tasks,c.id)); return SendTo(("match",),target_id=c.id)
        if (t.complexity or 0)>=3:
            o=[c for c in run if c.scope=="ORCHESTRATION"]
            if o: return SendTo(("complex",),target_id=min(o,key=lambda c:(c.open_tasks,c.id)).id)
        return Stay(("manual",),code="ManualQueue")
    def answer(self,t,i):
        if i.settings.get("accept")=="manual": return Answer("wait")
        if i.effective_status!="running": return Answer("wait")
        if i.queued>=i.settings["max_queued_tasks"]: return Answer("refuse","queue_full","full")
        return Answer("accept")
def get_behavior_for_instance(i): return Stub()

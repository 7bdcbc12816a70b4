from django.db import models
class RoutingDecision(models.Model):
    id=models.CharField(primary_key=True,max_length=64)
    task=models.ForeignKey("instances.Task",on_delete=models.CASCADE,related_name="decisions")
    instance=models.ForeignKey("instances.HopperInstance",on_delete=models.PROTECT,related_name="+")
    target=models.ForeignKey("instances.HopperInstance",null=True,on_delete=models.PROTECT,related_name="+")
    epoch=models.IntegerField(); hop=models.IntegerField()
    verdict=models.CharField(max_length=16); code=models.CharField(max_length=40)
    reasons=models.JSONField(); candidates=models.JSONField(); rules=models.JSONField()
    confidence=models.FloatField(); config_digest=models.CharField(max_length=64); elapsed_ms=models.FloatField()
    behavior=models.CharField(max_length=200); actor=models.CharField(max_length=150); created_at=models.DateTimeField()
